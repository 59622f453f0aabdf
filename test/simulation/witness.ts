import type { Lock } from '../../lib/lock.js';
import type { SimulatedProcess } from './simulated-process.js';
import { CLOCK_STEP } from './schedule.js';
import type { SimulatedDatabase } from './simulated-database.js';
import type { World } from './world.js';

/** A lock that somebody was given. */
export interface Hold {
  readonly lock: Lock;
  readonly process: SimulatedProcess;
  /** When it was asked for, on the process's clock. */
  readonly calledAt: number;
  over: boolean;
}

/** What is known of one owner id. */
interface Owner {
  readonly alias: string;
  /** The ttl to which its holder wants it extended. */
  extension: number | undefined;
  readonly process: SimulatedProcess;
  readonly releases: { readonly sentAt: number; answeredAt: number }[];
  readonly renewals: Set<{ readonly sentAt: number; readonly alone: boolean }>;
  released: boolean;
  /** It was granted the lock after its release, or by a request that came twice: nobody can know of that. */
  grantedLate: boolean;
  /** The lock was taken from it by force. */
  robbed: boolean;
  /** Until when it may believe in a lock that was taken from it, on the database's clock: when its lease would have ended. */
  unawareUntil: number;
}

/** The shortest time after which the library gives up a request: a third of the shortest ttl in use. */
const PROMPT = 66;

/** Sees everything that happens, also what no process could, and notes which promise of the library is broken. */
export class Witness {
  readonly #holds = new Map<string, Set<Hold>>();
  readonly #tokens = new Map<string, number>();
  readonly #owners = new Map<string, Owner>();
  /** When those gave back a lock who believed in it then. */
  readonly #givenBack = new Map<string, number>();

  constructor(
    private readonly world: World,
    private readonly database: SimulatedDatabase,
  ) {}

  /**
   * After everything that happens: who believes to hold a key does so in the store, alone, and never again when that was over.
   * From whom a lock was taken by force, and who was not told yet, may believe in it as long as its lease would have lasted.
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

  /** Somebody was given a lock. */
  granted(lock: Lock, process: SimulatedProcess, calledAt: number): Hold {
    const hold: Hold = { lock, process, calledAt, over: false };
    const { key, fencingToken } = lock;
    this.world.holds++;
    this.world.story?.tell(process.name, `holds ${key} as ${this.aliasOf(lock.owner)}`);
    // A grant that was answered while the machine was suspended is looked at later, like any other lease.
    const last = this.#tokens.get(key) ?? 0;
    // If it was taken by force before its holder heard of it, others may have been granted it meanwhile.
    if (fencingToken <= last && trusted(hold) && !this.#wasRobbed(lock))
      this.#violate(`token ${fencingToken} of ${key} comes after ${last}`);
    this.#tokens.set(key, Math.max(last, fencingToken));
    if (!lock.held) this.#violate(`${this.#name(hold)} was given ${key}, which was over already`);
    const holds = this.#holds.get(key) ?? new Set();
    this.#holds.set(key, holds.add(hold));
    return hold;
  }

  /** Its holder is about to give it back. */
  givingBack({ lock }: Hold): void {
    if (lock.held) this.#givenBack.set(lock.owner, this.world.timeline.now);
  }

  /** It was given back; `released` is what the library said, or its error. */
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

  /** Its process has ended, or its work. */
  forget(hold: Hold): void {
    this.#holds.get(hold.lock.key)?.delete(hold);
  }

  /** A killed process believes nothing. */
  forgetAllOf(process: SimulatedProcess): void {
    for (const holds of this.#holds.values()) {
      for (const hold of holds) if (hold.process === process) holds.delete(hold);
    }
  }

  /** After a shutdown a process holds nothing. */
  closed(process: SimulatedProcess): void {
    for (const holds of this.#holds.values()) {
      for (const hold of holds)
        if (hold.process === process && hold.lock.held)
          this.#violate(`${this.#name(hold)} holds ${hold.lock.key} after the shutdown`);
    }
  }

  /** An owner id is seen on the wire. */
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

  /** Its holder is about to extend it to this ttl. */
  extending({ lock }: Hold, ttl: number): void {
    const known = this.#owners.get(lock.owner);
    if (known) known.extension = ttl;
  }

  /** Whether a renewal is the one that the holder asked for. */
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

  /** Somebody takes a lock from whoever has it, who learns of that from the answer to a renewal, if not before. */
  freedByForce(key: string): void {
    const known = this.#owners.get(this.database.ownerOf(key) ?? '');
    if (!known || !this.database.isHeld(key)) return;
    known.robbed = true;
    known.unawareUntil = this.database.endOf(key);
  }

  /** It has the answer that the lock is its own no more. */
  toldOfLoss(owner: string): void {
    const known = this.#owners.get(owner);
    if (known) known.unawareUntil = 0;
  }

  releasedInStore(owner: string): void {
    const known = this.#owners.get(owner);
    if (known) known.released = true;
  }

  /** A renewal leaves; call what is returned when the process has its answer. */
  renewalSent(owners: readonly string[]): () => void {
    const found = owners.flatMap((owner) => this.#owners.get(owner) ?? []);
    // One that leaves while another is unanswered may be given up by a deadline which the other then moves.
    const alone = found.every(({ renewals }) => renewals.size === 0);
    const renewal = { sentAt: this.world.timeline.now, alone };
    for (const { renewals } of found) renewals.add(renewal);
    return () => {
      for (const { renewals } of found) renewals.delete(renewal);
    };
  }

  /** A release leaves; call what is returned when the process has its answer. */
  releaseSent(owner: string): () => void {
    const release = { sentAt: this.world.timeline.now, answeredAt: Infinity };
    this.#owners.get(owner)?.releases.push(release);
    this.endSent(owner);
    return () => (release.answeredAt = this.world.timeline.now);
  }

  /** A request leaves that ends its lease: no renewal of it may be on its way. */
  endSent(owner: string): void {
    const { now } = this.world.timeline;
    const [renewal] = this.#owners.get(owner)?.renewals ?? [];
    if (renewal?.alone && this.#givenBack.get(owner) === now && now - renewal.sentAt < PROMPT)
      this.#violate(`${this.aliasOf(owner)} is released while a renewal is on its way`);
  }

  /** When all is over the store still has a lease of this owner: whether nobody is to blame. */
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
 * Whether a lock that is not held is over for good. After a suspension of its machine it may
 * be in doubt only, until it is lost or confirmed.
 */
function isOver({ lock, process, calledAt }: Hold): boolean {
  return lock.loss !== undefined || (!process.suspended && process.resumedAt < calledAt);
}

/**
 * Whether what the process believes can be relied on: also at once after a suspension of its
 * machine, but not by those who look during it.
 */
function trusted({ process }: Hold): boolean {
  return !process.suspended;
}

/** How long its lease would have lasted yet, also if the database's clock was stepped on meanwhile. */
function leftOf({ lock, process }: Hold): number {
  return lock.expiresAt === null ? Infinity : lock.expiresAt.getTime() - process.clock.date() - CLOCK_STEP;
}
