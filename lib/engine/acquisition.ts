import { randomUUID } from 'node:crypto';
import type { Clock } from './clock.js';
import type {
  AcquireRequest,
  LockAcquireResult,
  LockStore,
  OnceRequest,
  WaiterRequest,
} from '../interfaces/lock-store.interface.js';
import { Lease, sentNow, timeAsleep, type LeaseGrant, type LeaseSettings } from './lease.js';
import { LockStoreError } from '../lock.errors.js';
import { asLockError, isTransient, mayBeCarriedOut, notAnswered, settleWithin } from './settle-within.js';
import { attemptTimeoutOf, storeTtl } from '../options/lease-timing.js';

/** What one call that acquires wants. */
export interface AcquisitionTerms extends LeaseSettings {
  label: string;
  sessionBound: boolean;
  stealAfter?: number | undefined;
  once?: OnceRequest | undefined;
}

/** Asks the store for the lock. */
type Asking = (owner: string, resend: boolean) => Promise<LockAcquireResult>;

/** An attempt that the store answered without granting the lock. */
export type Refusal = Extract<LockAcquireResult, { acquired: false }>;

const COLLISIONS = 3;
/** Milliseconds after which collisions are not repeated: they were waits for a lock, and the next would be one too. */
const QUICK = 500;
const RESENDS = 2;
const RESEND_PAUSE = 50;

/**
 * The attempts of one call.
 *
 * Each attempt has an owner id of its own, until one's outcome is unknown (the link broke, or no answer came in time): it may have been granted,
 * and only with the same id can the next attempt find out. In the end nothing stays behind that nobody believes in.
 */
export class LockAcquisition {
  #owner = randomUUID();
  /** Whether the store may have granted the lock to this owner. */
  #mayHold = false;
  #abandoned = false;
  /** Only for stores that wait: making one takes longer than the rest of an acquisition. */
  #givenUp: AbortController | undefined;
  #lease: Lease | undefined;
  #endPause: (() => void) | undefined;

  constructor(
    private readonly terms: AcquisitionTerms,
    private readonly store: LockStore,
    private readonly clock: Clock,
    /** Frees, in the background, what was granted and is not wanted. */
    private readonly free: (storeKey: string, owner: string) => void,
  ) {}

  /**
   * One attempt, which may take `patience` milliseconds besides the time for which the store waits. Collisions with other transactions are repeated
   * at once, lost answers are asked for again with the same owner id.
   *
   * @param wait milliseconds to wait on the server, for stores that do
   * @param waiting whether another attempt may follow, for stores that call those who wait
   * @throws LockStoreError
   */
  async attempt(
    patience = attemptTimeoutOf(this.terms.ttl),
    { wait = 0, waiting = false } = {},
  ): Promise<Lease | Refusal> {
    const { storeKey, ttl } = this.terms;
    const startedAt = this.clock.now();
    const waitUntil = startedAt + wait;
    const until = waitUntil + patience;
    for (let collisions = 0, resends = 0; ;) {
      try {
        const now = this.clock.now();
        const left = Math.max(0, waitUntil - now);
        const answer = await this.#send(until - now, (owner, resend) =>
          this.store.acquire(storeKey, owner, storeTtl(ttl), this.#request(resend, left, waiting)),
        );
        if (
          answer instanceof Lease ||
          answer.reason !== 'contention' ||
          this.#abandoned ||
          this.clock.now() - startedAt > QUICK ||
          this.clock.now() >= until ||
          collisions++ === COLLISIONS
        )
          return answer;
      } catch (error) {
        const pause = RESEND_PAUSE * 2 ** resends;
        if (
          !isTransient(error) ||
          resends++ === RESENDS ||
          this.#abandoned ||
          this.clock.now() + pause >= until
        )
          throw error;
        await this.#pause(pause);
        if (this.#abandoned || this.clock.now() >= until) throw error; // the pause may have taken longer
      }
    }
  }

  /** Whether a holder in this process may pass the lock on to this call: not while the store may grant it what it has asked for before. */
  get canInherit(): boolean {
    const { once, sessionBound } = this.terms;
    return !this.#mayHold && !this.#abandoned && !once && !sessionBound;
  }

  /**
   * An attempt by way of the holder, which gives the lock up for this call and for nobody else.
   *
   * @throws LockStoreError
   */
  async inherit(
    patience: number,
    pass: (next: WaiterRequest) => Promise<LockAcquireResult>,
  ): Promise<Lease | Refusal> {
    const { ttl, label } = this.terms;
    return this.#send(patience, (owner) => pass({ owner, ttl: storeTtl(ttl), label }));
  }

  /** Ends without the lock: whatever may still have been granted is freed. */
  abandon(): void {
    this.#abandoned = true;
    this.#givenUp?.abort();
    this.#endPause?.();
    if (this.#mayHold) this.free(this.terms.storeKey, this.#owner);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.clock.after(ms, resolve, true);
      this.#endPause = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  async #send(patience: number, ask: Asking): Promise<Lease | Refusal> {
    const { key } = this.terms;
    const resend = this.#mayHold;
    const owner = resend ? this.#owner : (this.#owner = randomUUID());
    const sent = sentNow(this.clock);
    let answer: LockAcquireResult | undefined;
    let failure: unknown;
    const inTime = await settleWithin(this.clock, patience, () => ask(owner, resend), {
      answered: (result) => {
        answer = result;
        if (result.acquired) this.#granted(owner);
      },
      failed: (error) => {
        failure = error;
        if (mayBeCarriedOut(error)) this.#granted(owner);
      },
    });
    if (answer && !answer.acquired) return answer;
    if (answer && inTime) {
      const { fencingToken, ignoredTick } = answer;
      const lease = this.#leaseOf({ owner, fencingToken, ...sent, resent: resend });
      lease.ignoredTick = ignoredTick;
      return lease;
    }
    if (!inTime) this.#granted(owner); // perhaps, and its answer may never come
    throw inTime
      ? asLockError(failure, 'acquisition', key, [owner])
      : notAnswered('acquisition', key, patience);
  }

  #request(resend: boolean, wait: number, waiting: boolean): AcquireRequest {
    const { label, stealAfter, once, sessionBound } = this.terms;
    return {
      label,
      ...(waiting && { waiting }),
      ...(resend && { resend }),
      ...(stealAfter !== undefined && { stealAfter }),
      ...(once && { once }),
      ...(sessionBound && { wait, signal: (this.#givenUp ??= new AbortController()).signal }),
    };
  }

  #leaseOf(grant: LeaseGrant): Lease {
    const { terms } = this;
    const lease = new Lease(terms, grant, this.clock);
    lease.noticeSleep(timeAsleep(this.clock));
    if (!lease.held) {
      // The process was frozen meanwhile, or the machine suspended. It may still be ours in the store, but nobody can rely on that.
      this.free(terms.storeKey, grant.owner);
      this.#mayHold = false;
      this.#owner = randomUUID(); // what the last one is granted from here on nobody wants
      throw new LockStoreError(
        `The lock "${lease.key}" was granted, but the answer came after its lease of ${lease.ttl} ms. Raise the ttl, or find what blocks the process.`,
        { transient: true },
      );
    }
    this.#lease = lease;
    return lease;
  }

  /** The store has, or may have, granted the lock to this owner: when the call is over, or has given back the lock it won, that is for nobody. */
  #granted(owner: string): void {
    const free = (): void => this.free(this.terms.storeKey, owner);
    const lease = owner === this.#owner ? this.#lease : undefined;
    if (lease?.handedOn) return;
    if (lease?.released)
      void lease.released.then(free, free); // its holder gives it back, in its own way
    else if (this.#abandoned || owner !== this.#owner || lease?.open === false) free();
    else this.#mayHold = true;
  }
}
