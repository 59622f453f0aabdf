import { randomUUID } from 'node:crypto';
import type { Clock } from './clock.js';
import type { InFlight } from './in-flight.js';
import type {
  AcquireRequest,
  LockAcquireResult,
  LockStore,
  OnceRequest,
  Refusal,
} from '../interfaces/lock-store.interface.js';
import { Lease, sentNow, timeAsleep, type Clocks, type LeaseSettings } from './lease.js';
import { LockError, LockNotAcquiredError, LockStoreError } from '../lock.errors.js';
import type { LockEventPublisher } from '../lock.events.js';
import type { LockCall } from '../options/lock-call.js';
import { storeTtl } from '../options/lease-timing.js';
import {
  answerWithin,
  mayBeCarriedOut,
  pauseBeforeRetry,
  requestLimitOf,
  type LimitedRequest,
} from './time-limit.js';

/** The lock that a call wants, and the options of its requests. */
export interface AttemptSettings extends LeaseSettings {
  label: string;
  stealAfter?: number | undefined;
  once?: OnceRequest | undefined;
}

/** The parts of the engine that attempts use. */
export interface AttemptEngine {
  readonly store: LockStore;
  readonly clock: Clock;
  readonly keeper: {
    readonly inFlight: InFlight;
    /**
     * Releases a lock that was granted after its call had given up. It does so in the
     * background.
     */
    free(storeKey: string, owner: string): void;
  };
}

/**
 * Sends one request to the store. `resend` is `true` if this owner has sent an earlier request
 * with an unknown outcome.
 */
type SendRequest = (owner: string, timeout: number, resend: boolean) => Promise<LockAcquireResult>;

type Granted = Extract<LockAcquireResult, { acquired: true }>;

const COLLISIONS = 3;
/**
 * Milliseconds. If an attempt that collided with another transaction took longer than this,
 * the store has waited for a locked row, and would wait again. So the request is not repeated
 * at once.
 */
const QUICK = 500;
const TRIES = 3;
const RETRY_PAUSE = 50;

/**
 * The attempts of one call.
 *
 * An attempt sends requests until the lock is granted or refused, or the outcome stays
 * unknown. Each request is sent once. It has a new owner id if the outcomes of all earlier
 * requests are known.
 *
 * The outcome of a request is unknown when the connection broke or no answer came in time: the
 * store may have granted the lock, or may do so later. Only a request with the same owner id
 * can find that out, so all later requests of the call keep the id. When the call ends without
 * the lock, it releases the lock that the store may have granted.
 */
export class Attempts {
  #owner = '';
  /** Whether the store may have granted the lock to the present owner id. */
  #mayHold = false;
  #abandoned = false;
  /**
   * Ends a wait on the server. Only stores that wait on the server get an AbortController,
   * since making it takes longer than the rest of an acquisition.
   */
  #endWait: AbortController | undefined;
  #lease: Lease | undefined;
  #endPause: (() => void) | undefined;

  constructor(
    private readonly settings: AttemptSettings,
    private readonly engine: AttemptEngine,
  ) {}

  /**
   * Makes one attempt. After a collision with other transactions the next request is sent at
   * once, and after an unknown outcome it is sent after a pause.
   *
   * @param limit milliseconds for all requests, besides the time for which the store waits
   * @param wait milliseconds to wait on the server, for stores with session locks
   * @param waiting whether another attempt may follow, for stores that notify waiters
   * @throws LockStoreError
   */
  async attempt(
    limit = requestLimitOf(this.settings.ttl),
    wait = 0,
    waiting = false,
  ): Promise<Lease | Refusal> {
    const { clock, store } = this.engine;
    const { storeKey, ttl } = this.settings;
    const startedAt = clock.now();
    const waitUntil = startedAt + wait;
    const until = waitUntil + limit;
    for (let collisions = 0, failures = 0; ;) {
      try {
        const now = clock.now();
        const left = Math.max(0, waitUntil - now);
        const sent = this.#next(undefined, (owner, timeout, resend) =>
          store.acquire(storeKey, owner, storeTtl(ttl), this.#request(timeout, resend, left, waiting)),
        );
        const result = await answerWithin(clock, until - now, sent);
        if (result.acquired) return this.#leaseOf(sent, result);
        if (
          result.reason !== 'contention' ||
          this.#abandoned ||
          clock.now() - startedAt > QUICK ||
          clock.now() >= until ||
          collisions++ === COLLISIONS
        )
          return result;
      } catch (error) {
        await pauseBeforeRetry(clock, error, ++failures, {
          tries: TRIES,
          pause: RETRY_PAUSE,
          until,
          stopped: () => this.#abandoned,
          pausing: (end) => (this.#endPause = end),
        });
      }
    }
  }

  /**
   * Whether a holder in this process may release the lock to this call. That is not allowed as
   * long as the store may still grant the lock because of an earlier request of this call.
   */
  get canTakeOver(): boolean {
    const { once, sessionBound } = this.settings;
    return !this.#mayHold && !this.#abandoned && !once && !sessionBound;
  }

  /**
   * Makes one attempt, in which the holder in this process releases the lock to this call.
   *
   * @throws LockStoreError when the store fails
   */
  async takeOver(
    { owner }: Lease,
    limit: number,
    release: (waiter: string, timeout: number) => Promise<LockAcquireResult>,
  ): Promise<Lease | Refusal> {
    const sent = this.#next(owner, release);
    const result = await answerWithin(this.engine.clock, limit, sent);
    return result.acquired ? this.#leaseOf(sent, result) : result;
  }

  /**
   * Ends the attempts without the lock, and releases a lock that the store may have granted.
   */
  abandon(): void {
    this.#abandoned = true;
    this.#endWait?.abort();
    this.#endPause?.();
    if (this.#mayHold) this.#free(this.#owner);
  }

  /**
   * Makes the next request. It keeps the owner id while an earlier outcome is unknown.
   *
   * @param holder the owner id of the holder that releases the lock to this call
   */
  #next(holder: string | undefined, send: SendRequest): AttemptRequest {
    const resend = this.#mayHold;
    if (!resend) this.#owner = randomUUID();
    return new AttemptRequest(
      this,
      this.settings.key,
      this.#owner,
      resend,
      holder,
      send,
      sentNow(this.engine.clock),
    );
  }

  #request(timeout: number, resend: boolean, wait: number, waiting: boolean): AcquireRequest {
    const { label, stealAfter, once, sessionBound } = this.settings;
    // Most requests have only a label and a timeout. To copy them with spreads would take
    // longer than the rest of this method.
    const request: AcquireRequest = timeout === Infinity ? { label } : { label, timeout };
    if (waiting) request.waiting = true;
    if (resend) request.resend = true;
    if (stealAfter !== undefined) request.stealAfter = stealAfter;
    if (once) request.once = once;
    if (sessionBound) {
      request.wait = wait;
      request.signal = (this.#endWait ??= new AbortController()).signal;
    }
    return request;
  }

  /** Makes the lease of a grant. @throws LockStoreError when the lease has ended already */
  #leaseOf({ owner, resend, sent }: AttemptRequest, { fencingToken, ignoredTick }: Granted): Lease {
    const { clock } = this.engine;
    const { sentAt, asleep, drift } = sent;
    const grant = { owner, fencingToken, sentAt, asleep, drift, resent: resend };
    const lease = new Lease(this.settings, grant, clock);
    lease.ignoredTick = ignoredTick;
    lease.noticeSleep(timeAsleep(clock));
    if (!lease.held) {
      // The process was frozen, or the machine was suspended, for longer than the lease. The
      // store may still count the lock as held, but this process cannot rely on it.
      this.#free(owner);
      this.#mayHold = false;
      this.#owner = ''; // so that `granted` releases a late grant to this owner
      throw new LockStoreError(
        `The lock "${lease.key}" was granted, but its lease of ${lease.ttl} ms had ended before the answer came. Raise the ttl, or find what blocks the process.`,
        { transient: true },
      );
    }
    this.#lease = lease;
    return lease;
  }

  /**
   * Notes that the store has granted the lock to this owner, or may have done so. If the call
   * has given up, or has released its lock already, this lock is released.
   */
  granted(owner: string): void {
    const free = (): void => this.#free(owner);
    const lease = owner === this.#owner ? this.#lease : undefined;
    if (lease?.handedOff) return;
    // If the call has begun to release its lock, that release comes first.
    if (lease?.released) void lease.released.then(free, free);
    else if (this.#abandoned || owner !== this.#owner || lease?.open === false) free();
    else this.#mayHold = true;
  }

  /**
   * Counts a request whose answer is late, so that a shutdown awaits the answer before it
   * closes the store.
   */
  overdue(): void {
    this.engine.keeper.inFlight.begin();
  }

  /** Ends the count of a late request: its answer has come, or the store has failed. */
  settled(): void {
    this.engine.keeper.inFlight.end();
  }

  #free(owner: string): void {
    this.engine.keeper.free(this.settings.storeKey, owner);
  }
}

/** One request of an attempt, with the times of the clocks before it was sent. */
class AttemptRequest implements LimitedRequest<LockAcquireResult> {
  readonly operation = 'acquisition';
  #isOverdue = false;

  constructor(
    private readonly attempts: Attempts,
    readonly key: string,
    readonly owner: string,
    readonly resend: boolean,
    private readonly holder: string | undefined,
    private readonly request: SendRequest,
    readonly sent: Clocks,
  ) {}

  get owners(): readonly string[] {
    return this.holder === undefined ? [this.owner] : [this.owner, this.holder];
  }

  send(timeout: number): Promise<LockAcquireResult> {
    return this.request(this.owner, timeout, this.resend);
  }

  answered({ acquired }: LockAcquireResult): void {
    if (acquired) this.attempts.granted(this.owner);
    if (this.#isOverdue) this.attempts.settled();
    this.#isOverdue = false;
  }

  failed(error: unknown, final: boolean): void {
    if (mayBeCarriedOut(error)) this.attempts.granted(this.owner);
    if (this.#isOverdue) this.attempts.settled();
    else if (!final) this.attempts.overdue();
    this.#isOverdue = !final;
  }
}

/**
 * Makes the error for a tick that lies too far ahead of the store's clock.
 *
 * @throws LockError with `once: 'tick'`: if the store recorded such a tick, no instance would
 * run any tick until its time has come
 */
export function refuseTickAhead(
  { key, job, once, settings }: LockCall,
  waited: number,
  publisher: LockEventPublisher,
): LockNotAcquiredError {
  const { tick, failOver } = once && 'tick' in once ? once : { tick: 0 };
  if (!failOver)
    throw new LockError(
      `The tick ${new Date(tick).toISOString()} of lock "${key}" is more than ${settings.tickAhead} ms ahead of the database's clock, and is not run. Set the clock of this machine, or raise the option tickAhead.`,
    );
  publisher.publish('tickAhead', { key, job, tick: new Date(tick) });
  return new LockNotAcquiredError(key, { waited, reason: 'tick-ahead' });
}
