import type { Lock } from '../../lib/lock.js';
import type { SimulatedProcess } from './simulated-process.js';
import { CLOCK_STEP } from './schedule.js';
import type { SimulatedDatabase } from './simulated-database.js';
import type { World } from './world.js';

/** A lock that a worker has got. */
export interface Hold {
  readonly lock: Lock;
  readonly process: SimulatedProcess;
  /** The time on the clock of the process at which the worker called for the lock. */
  readonly calledAt: number;
  over: boolean;
}

/** What the witness has seen of one owner id. */
interface Owner {
  readonly alias: string;
  /** The ttl of an extension that the holder has called for, until its request is sent. */
  extension: number | undefined;
  readonly process: SimulatedProcess;
  readonly releases: { readonly sentAt: number; answeredAt: number }[];
  readonly renewals: Set<{ readonly sentAt: number; readonly alone: boolean }>;
  released: boolean;
  /**
   * Whether the store granted the lock after its release, or for a request that arrived twice.
   * No process can know of such a grant.
   */
  grantedLate: boolean;
  /** Whether a forced release took the lock from this owner. */
  robbed: boolean;
  /**
   * After a forced release, `held` may stay true until this time on the clock of the database,
   * at which the lease would have ended.
   */
  unawareUntil: number;
}

/**
 * The shortest time limit that the library gives a request, in milliseconds: a third of the
 * shortest ttl in use.
 */
const PROMPT = 66;

/**
 * Sees every event, even those that no process can see, and records violations: promises that
 * the library breaks.
 */
export class Witness {
  readonly #holds = new Map<string, Set<Hold>>();
  readonly #tokens = new Map<string, number>();
  readonly #owners = new Map<string, Owner>();
  /** For each owner whose lock was held when its release began, the time of the release. */
  readonly #givenBack = new Map<string, number>();

  constructor(
    private readonly world: World,
    private readonly database: SimulatedDatabase,
  ) {}

  /**
   * Checks all holds after each event. While `held` is true, the store must have the lock, and
   * no other hold of the key may be held. Once a lock has ended, it must never be held again.
   * After a forced release, `held` may stay true until the lease would have ended.
   */
  look(): boolean {
    for (const [key, holds] of this.#holds) {
      let believer: Hold | undefined;
      for (const hold of holds) {
        if (!hold.lock.held) hold.over ||= isOver(hold);
        else if (hold.over) this.#violate(`${this.#name(hold)} holds ${key} again, although that was over`);
        else if (trusted(hold)) {
          const { owner } = hold.lock;
          const held = this.database.holds(key, owner);
          if (!held && this.database.isAhead(this.#owners.get(owner)?.unawareUntil ?? 0)) continue;
          if (!held) this.#violate(`${this.#name(hold)} holds ${key}, whose lease has ended in the store`);
          if (believer) this.#violate(`${this.#name(believer)} and ${this.#name(hold)} hold ${key} at once`);
          believer = hold;
        }
      }
    }
    return this.world.violation === undefined;
  }

  /** Records a lock that a worker has got. */
  granted(lock: Lock, process: SimulatedProcess, calledAt: number): Hold {
    const hold: Hold = { lock, process, calledAt, over: false };
    const { key, fencingToken } = lock;
    this.world.holds++;
    this.world.story?.tell(process.name, `holds ${key} as ${this.aliasOf(lock.owner)}`);
    // If the machine is suspended at the grant, the lock is checked only after the suspension,
    // like all locks.
    const last = this.#tokens.get(key) ?? 0;
    // If a forced release came before the answer to the acquisition, other owners may have got
    // greater tokens since.
    if (fencingToken <= last && trusted(hold) && !this.#wasRobbed(lock))
      this.#violate(`token ${fencingToken} of ${key} comes after ${last}`);
    this.#tokens.set(key, Math.max(last, fencingToken));
    if (!lock.held) this.#violate(`${this.#name(hold)} was given ${key}, which was over already`);
    const holds = this.#holds.get(key) ?? new Set();
    this.#holds.set(key, holds.add(hold));
    return hold;
  }

  /** Records that the holder is about to release the lock. */
  givingBack({ lock }: Hold): void {
    if (lock.held) this.#givenBack.set(lock.owner, this.world.timeline.now);
  }

  /**
   * Records that the release has ended. `released` is the result or the error of the library.
   */
  gaveBack(hold: Hold, released: boolean | Error): void {
    const { lock, process } = hold;
    this.forget(hold);
    if (lock.held) this.#violate(`${this.#name(hold)} holds ${lock.key} after its release`);
    if (!this.#givenBack.has(lock.owner) || process.resumedAt >= hold.calledAt) return;
    if (released === false && leftOf(hold) > 0 && !this.#wasRobbed(lock))
      this.#violate(`${this.#name(hold)} held ${lock.key}, and gave back nothing`);
    if (released instanceof Error && this.#releasedPromptly(lock.owner))
      this.#violate(
        `the release of ${this.#name(hold)} failed, although the store was well: ${released.message}`,
      );
  }

  /** Removes a hold from the checks, because its work has ended. */
  forget(hold: Hold): void {
    this.#holds.get(hold.lock.key)?.delete(hold);
  }

  /**
   * Removes the holds of a killed process from the checks, since code of this process no
   * longer runs.
   */
  forgetAllOf(process: SimulatedProcess): void {
    for (const holds of this.#holds.values()) {
      for (const hold of holds) if (hold.process === process) holds.delete(hold);
    }
  }

  /** Checks that a process holds no lock after its shutdown. */
  closed(process: SimulatedProcess): void {
    for (const holds of this.#holds.values()) {
      for (const hold of holds)
        if (hold.process === process && hold.lock.held)
          this.#violate(`${this.#name(hold)} holds ${hold.lock.key} after the shutdown`);
    }
  }

  /**
   * Records an owner id when it first appears in a request. Returns a short name for the
   * story.
   */
  meet(owner: string, process: SimulatedProcess): string {
    let known = this.#owners.get(owner);
    if (!known) {
      const alias = `${process.name}/${this.#owners.size + 1}`;
      known = {
        alias,
        extension: undefined,
        process,
        releases: [],
        renewals: new Set(),
        released: false,
        grantedLate: false,
        robbed: false,
        unawareUntil: 0,
      };
      this.#owners.set(owner, known);
    }
    return known.alias;
  }

  aliasOf(owner: string): string {
    return this.#owners.get(owner)?.alias ?? 'nobody';
  }

  /** Records that the holder is about to extend the lock to this ttl. */
  extending({ lock }: Hold, ttl: number): void {
    const known = this.#owners.get(lock.owner);
    if (known) known.extension = ttl;
  }

  /** Returns whether this renewal is the extension that the holder has requested. */
  isExtension(owner: string, ttl: number): boolean {
    const known = this.#owners.get(owner);
    if (known?.extension !== ttl) return false;
    known.extension = undefined;
    return true;
  }

  grantedInStore(owner: string, again: boolean): void {
    const known = this.#owners.get(owner);
    if (known && (known.released || known.robbed || again)) known.grantedLate = true;
  }

  /**
   * Records a forced release. The holder does not know of the forced release until its next
   * renewal.
   */
  freedByForce(key: string): void {
    const known = this.#owners.get(this.database.ownerOf(key) ?? '');
    if (!known || !this.database.isHeld(key)) return;
    known.robbed = true;
    known.unawareUntil = this.database.endOf(key);
  }

  /**
   * Records that the process was notified of the loss, so `held` must be false from now on.
   */
  toldOfLoss(owner: string): void {
    const known = this.#owners.get(owner);
    if (known) known.unawareUntil = 0;
  }

  releasedInStore(owner: string): void {
    const known = this.#owners.get(owner);
    if (known) known.released = true;
  }

  /**
   * Records that a renewal is sent. Returns a function to call when the process has the
   * answer.
   */
  renewalSent(owners: readonly string[]): () => void {
    const found = owners.flatMap((owner) => this.#owners.get(owner) ?? []);
    // Only a renewal that is under way alone has a known time limit: the answer to another
    // renewal would move the deadline from which the limit was computed.
    const alone = found.every(({ renewals }) => renewals.size === 0);
    const renewal = { sentAt: this.world.timeline.now, alone };
    for (const { renewals } of found) renewals.add(renewal);
    return () => {
      for (const { renewals } of found) renewals.delete(renewal);
    };
  }

  /**
   * Records that a release is sent. Returns a function to call when the process has the
   * answer.
   */
  releaseSent(owner: string): () => void {
    const release = { sentAt: this.world.timeline.now, answeredAt: Infinity };
    this.#owners.get(owner)?.releases.push(release);
    this.endSent(owner);
    return () => (release.answeredAt = this.world.timeline.now);
  }

  /**
   * Checks that no renewal of a lease is under way when the library sends a request that ends
   * the lease.
   */
  endSent(owner: string): void {
    const { now } = this.world.timeline;
    const [renewal] = this.#owners.get(owner)?.renewals ?? [];
    if (renewal?.alone && this.#givenBack.get(owner) === now && now - renewal.sentAt < PROMPT)
      this.#violate(`${this.aliasOf(owner)} is released while a renewal is on its way`);
  }

  /**
   * Returns whether a lease of this owner may be left in the store after all processes have
   * ended.
   */
  mayBeLeft(owner: string | undefined): boolean {
    const known = this.#owners.get(owner ?? '');
    if (!known) return false;
    const { process, grantedLate, releases } = known;
    return process.dead || grantedLate || releases.some(({ answeredAt }) => answeredAt === Infinity);
  }

  #wasRobbed({ owner }: Lock): boolean {
    return this.#owners.get(owner)?.robbed ?? false;
  }

  #releasedPromptly(owner: string): boolean {
    const releases = this.#owners.get(owner)?.releases ?? [];
    return releases.every(({ sentAt, answeredAt }) => answeredAt - sentAt < PROMPT);
  }

  #violate(what: string): void {
    this.world.violate(what);
  }

  #name({ lock }: Hold): string {
    return this.aliasOf(lock.owner);
  }
}

/**
 * Returns whether a lock that is not held has ended for good. After a suspension of the
 * machine, `held` may also be false only until a renewal confirms the lock.
 */
function isOver({ lock, process, calledAt }: Hold): boolean {
  return lock.loss !== undefined || (!process.suspended && process.resumedAt < calledAt);
}

/**
 * Returns whether `held` has to be right now. It has to be right as soon as a suspension has
 * ended, but not during the suspension.
 */
function trusted({ process }: Hold): boolean {
  return !process.suspended;
}

/**
 * Returns the remaining milliseconds of the lease, less the largest step of the database
 * clock.
 */
function leftOf({ lock, process }: Hold): number {
  return lock.expiresAt === null ? Infinity : lock.expiresAt.getTime() - process.clock.date() - CLOCK_STEP;
}
