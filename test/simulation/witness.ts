import type { Lock } from '../../lib/lock.js';
import type { SimulatedProcess } from './simulated-process.js';
import { CLOCK_STEP } from './schedule.js';
import type { SimulatedDatabase } from './simulated-database.js';
import type { World } from './world.js';

/** A granted lock. */
export interface Hold {
  readonly lock: Lock;
  readonly process: SimulatedProcess;
  /** The time of its call on the process's clock. */
  readonly calledAt: number;
  over: boolean;
}

/** The facts about one owner id. */
interface Owner {
  readonly alias: string;
  /** The ttl to which the holder is extending the lock. */
  extension: number | undefined;
  readonly process: SimulatedProcess;
  readonly releases: { readonly sentAt: number; answeredAt: number }[];
  readonly renewals: Set<{ readonly sentAt: number; readonly alone: boolean }>;
  released: boolean;
  /**
   * The store granted the lock after its release, or for a request that arrived twice. No
   * process can know of this grant.
   */
  grantedLate: boolean;
  /** A forced release took the lock from this owner. */
  robbed: boolean;
  /**
   * After a forced release, the holder may believe in the lock until this time of the
   * database's clock: the end of its lease.
   */
  unawareUntil: number;
}

/** The library's shortest time limit of a request: a third of the shortest ttl in use. */
const PROMPT = 66;

/**
 * Sees every event, also those that no process can see, and records broken promises of the
 * library.
 */
export class Witness {
  readonly #holds = new Map<string, Set<Hold>>();
  readonly #tokens = new Map<string, number>();
  readonly #owners = new Map<string, Owner>();
  /** The time of each release whose caller believed in the lock. */
  readonly #givenBack = new Map<string, number>();

  constructor(
    private readonly world: World,
    private readonly database: SimulatedDatabase,
  ) {}

  /**
   * Runs after each event. A holder that believes in its lock must have it in the store,
   * alone, and never again after the lock ended. After a forced release, a holder that does
   * not know yet may believe in the lock until its lease would have ended.
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

  /** Records a granted lock. */
  granted(lock: Lock, process: SimulatedProcess, calledAt: number): Hold {
    const hold: Hold = { lock, process, calledAt, over: false };
    const { key, fencingToken } = lock;
    this.world.holds++;
    this.world.story?.tell(process.name, `holds ${key} as ${this.aliasOf(lock.owner)}`);
    // A grant that was answered while the machine was suspended is checked later, like any
    // other lease.
    const last = this.#tokens.get(key) ?? 0;
    // If a forced release came before the holder had its answer, others may have got the lock
    // meanwhile.
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

  /** Records the end of the release. `released` is the result or the error of the library. */
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

  /** Forgets a hold whose process or work has ended. */
  forget(hold: Hold): void {
    this.#holds.get(hold.lock.key)?.delete(hold);
  }

  /** Forgets the holds of a killed process, which believes nothing. */
  forgetAllOf(process: SimulatedProcess): void {
    for (const holds of this.#holds.values()) {
      for (const hold of holds) if (hold.process === process) holds.delete(hold);
    }
  }

  /** Checks that a process holds nothing after its shutdown. */
  closed(process: SimulatedProcess): void {
    for (const holds of this.#holds.values()) {
      for (const hold of holds)
        if (hold.process === process && hold.lock.held)
          this.#violate(`${this.#name(hold)} holds ${hold.lock.key} after the shutdown`);
    }
  }

  /** Records an owner id that appears in a request. */
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

  /** Whether this renewal is the extension that the holder requested. */
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

  /** Records a forced release. The holder learns of it from its next renewal at the latest. */
  freedByForce(key: string): void {
    const known = this.#owners.get(this.database.ownerOf(key) ?? '');
    if (!known || !this.database.isHeld(key)) return;
    known.robbed = true;
    known.unawareUntil = this.database.endOf(key);
  }

  /** Records that the process knows of its loss. */
  toldOfLoss(owner: string): void {
    const known = this.#owners.get(owner);
    if (known) known.unawareUntil = 0;
  }

  releasedInStore(owner: string): void {
    const known = this.#owners.get(owner);
    if (known) known.released = true;
  }

  /**
   * Records that a renewal is sent. The returned function is called when the process has its
   * answer.
   */
  renewalSent(owners: readonly string[]): () => void {
    const found = owners.flatMap((owner) => this.#owners.get(owner) ?? []);
    // A renewal beside another unanswered one may get a limit from a deadline that the other
    // then moves.
    const alone = found.every(({ renewals }) => renewals.size === 0);
    const renewal = { sentAt: this.world.timeline.now, alone };
    for (const { renewals } of found) renewals.add(renewal);
    return () => {
      for (const { renewals } of found) renewals.delete(renewal);
    };
  }

  /**
   * Records that a release is sent. The returned function is called when the process has its
   * answer.
   */
  releaseSent(owner: string): () => void {
    const release = { sentAt: this.world.timeline.now, answeredAt: Infinity };
    this.#owners.get(owner)?.releases.push(release);
    this.endSent(owner);
    return () => (release.answeredAt = this.world.timeline.now);
  }

  /** A request that ends the lease is sent: no renewal of the lease may be under way. */
  endSent(owner: string): void {
    const { now } = this.world.timeline;
    const [renewal] = this.#owners.get(owner)?.renewals ?? [];
    if (renewal?.alone && this.#givenBack.get(owner) === now && now - renewal.sentAt < PROMPT)
      this.#violate(`${this.aliasOf(owner)} is released while a renewal is on its way`);
  }

  /** Whether the library may leave a lease of this owner in the store at the end. */
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
 * Whether a lock that is not held has ended for good. After a suspension of its machine it may
 * only be in doubt until it is lost or confirmed.
 */
function isOver({ lock, process, calledAt }: Hold): boolean {
  return lock.loss !== undefined || (!process.suspended && process.resumedAt < calledAt);
}

/**
 * Whether the belief of the process has to be right. It has to be right at once after a
 * suspension, but not during it.
 */
function trusted({ process }: Hold): boolean {
  return !process.suspended;
}

/** The rest of its lease, less the possible step of the database's clock. */
function leftOf({ lock, process }: Hold): number {
  return lock.expiresAt === null ? Infinity : lock.expiresAt.getTime() - process.clock.date() - CLOCK_STEP;
}
