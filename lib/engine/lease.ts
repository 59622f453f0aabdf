import type { Clock } from './clock.js';
import { LockLostError } from '../lock.errors.js';
import { marginOf, renewalInterval } from '../options/lease-timing.js';
import { requestLimitOf } from './time-limit.js';

/** The options of the lease that a call wants. */
export interface LeaseSettings {
  /** The key as the user knows it, without the module's prefix. */
  key: string;
  /** The key as the store knows it. */
  storeKey: string;
  /** The ttl in milliseconds, or `Infinity`. */
  ttl: number;
  renewEvery: number | undefined | false;
  /**
   * Whether the lease lasts as long as a connection of the store. Such a lease has no deadline
   * and is never renewed.
   */
  sessionBound?: boolean;
}

/** The times of all clocks at one moment. */
export interface Clocks {
  /** The monotonic time, usually just before a request is sent. */
  sentAt: number;
  /** The result of {@link timeAsleep} at `sentAt`. */
  asleep: number;
  /** Milliseconds by which the wall clock was ahead of the monotonic clock at `sentAt`. */
  drift: number;
}

/**
 * The lease that the store granted, and the times of the clocks before the request was sent.
 */
export interface LeaseGrant extends Clocks {
  owner: string;
  fencingToken: number;
  /**
   * Whether the request repeated earlier requests that the store may still carry out. Each of
   * those would set the lease to its ttl again.
   */
  resent?: boolean;
}

/** Learns when a lease is lost or when the clocks put it in doubt. */
export interface LeaseWatcher {
  /** The lease is lost. A watcher is called once for each lease. */
  lost(lease: Lease, error: LockLostError): void;
  /** The clocks put the lease in doubt, so a watcher has to renew it at once. */
  doubted(lease: Lease): void;
}

/** A renewal in flight. */
interface RenewalRequest {
  ttl: number;
}

const NO_REQUESTS: readonly RenewalRequest[] = [];

/**
 * Milliseconds. A shorter suspension is not counted, since `os.uptime()` counts only whole
 * seconds on some systems.
 */
const SLEEP_TOLERANCE = 2_000;

/**
 * How a renewal ended. `unknown`: the request failed, but the store may still carry it out.
 */
export type RequestOutcome = 'renewed' | 'refused' | 'unknown';

/**
 * Returns the difference between the machine's uptime and the monotonic clock. It grows while
 * the machine is suspended: the monotonic clock stands still then, and the store's clock goes
 * on.
 */
export function timeAsleep(clock: Clock): number {
  return clock.uptime() - clock.now();
}

/** Reads all clocks. Call it just before a request is sent. */
export function sentNow(clock: Clock): Clocks {
  const sentAt = clock.now();
  return { sentAt, asleep: timeAsleep(clock), drift: clock.wall() - sentAt };
}

/**
 * What this process may believe about one acquisition.
 *
 * The deadline counts from *before* the request was sent, less a margin, on the monotonic
 * clock. So it lies before the moment at which the store grants the lock to another holder,
 * however late the answer came.
 *
 * The monotonic clock stands still while the machine is suspended, so the lease also looks at
 * how much the wall clock has advanced since the last confirmation. If the monotonic clock has
 * passed the deadline, the lease is lost. If only the wall clock has passed it, the machine
 * was suspended or the wall clock was set: the lease is in doubt, and the holder does not
 * believe in it until the store confirms it, or says that it is lost.
 */
export class Lease {
  readonly key: string;
  readonly storeKey: string;
  readonly owner: string;
  readonly fencingToken: number;
  readonly sessionBound: boolean;
  /** Milliseconds between renewals, `undefined` or `false`, see {@link renewalInterval}. */
  readonly renewEvery: number | undefined | false;

  /**
   * The renewal in flight, or the transaction during which the lease is not renewed. The
   * promise resolves when the renewal or the transaction has ended, and never rejects.
   */
  pendingRequest: Promise<void> | undefined;
  /** The release of the lease; `undefined` before it has begun. */
  released: Promise<unknown> | undefined;
  /**
   * Whether the lease was handed off to another process. A late answer of the store must not
   * release it then.
   */
  handedOff = false;
  /** The recorded tick that the store has ignored, if it did so, see `LockAcquireResult`. */
  ignoredTick: Date | undefined;
  /**
   * How often in a row the lock was released to a waiter of this process instead of another
   * process.
   */
  series = 0;
  /**
   * Whether the lease is renewed by a request of its own, since its last batch failed or did
   * not reach its row.
   */
  alone = false;
  /** Whether `lock.transaction()` is running. The lease is not renewed during it. */
  inTransaction = false;
  /**
   * Whether the store may still count this lost lease as held. That is so if the lease was
   * lost by a shorter ttl whose request was not answered, and may not have been carried out.
   */
  outlasts = false;
  /** The monotonic time of the next renewal. */
  renewAt: number;
  /**
   * Learns when this lease is lost. All leases of a process share one watcher, since there may
   * be 100,000 leases.
   */
  watcher: LeaseWatcher | undefined;
  /**
   * The index of this lease in the heap of the leases that are renewed; -1 if it is not in the
   * heap.
   */
  place = -1;
  /**
   * The position of this lease in the order in which leases were added to the heap, from 1; 0
   * if it was not added yet.
   */
  order = 0;

  readonly #acquiredAt: number;
  #state: 'held' | 'lost' | 'ended' = 'held';
  #ttl: number;
  #deadline: number;
  #endsAt: number;
  #confirmedAt: number;
  #asleep: number;
  /**
   * Milliseconds by which the wall clock was ahead of the monotonic clock: the smallest value
   * that was read since the store last confirmed the lease.
   */
  #drift: number;
  #doubted = false;
  #loss: LockLostError | undefined;
  /** The renewals in flight. */
  #requests = NO_REQUESTS;
  /**
   * The shortest ttl of the requests that failed, but that the store may still carry out. A
   * server that was frozen may carry them out at any later time.
   */
  #doubtful: number | undefined;

  constructor(
    settings: LeaseSettings,
    grant: LeaseGrant,
    private readonly clock: Clock,
  ) {
    this.key = settings.key;
    this.storeKey = settings.storeKey;
    this.owner = grant.owner;
    this.fencingToken = grant.fencingToken;
    this.sessionBound = settings.sessionBound ?? false;
    this.renewEvery = settings.renewEvery;
    this.#acquiredAt = clock.date();
    this.#ttl = settings.ttl;
    this.#deadline = grant.sentAt + settings.ttl - marginOf(settings.ttl);
    this.#endsAt = grant.sentAt + settings.ttl;
    this.#confirmedAt = grant.sentAt;
    this.#asleep = grant.asleep;
    this.#drift = grant.drift;
    if (grant.resent) this.#doubtful = settings.ttl;
    this.renewAt = grant.sentAt + renewalInterval(settings.renewEvery, settings.ttl);
  }

  get acquiredAt(): Date {
    return new Date(this.#acquiredAt);
  }

  /** The present ttl in milliseconds, or `Infinity`. */
  get ttl(): number {
    return this.#ttl;
  }

  get held(): boolean {
    if (this.#state !== 'held') return false;
    const now = this.clock.now();
    if (now >= this.#deadline) return false;
    if (!this.#isDoubtful(now, this.clock.wall() - now)) return true;
    this.#renewAtOnce(now);
    return false;
  }

  /**
   * Whether the wall clock has passed the deadline and the monotonic clock has not. The
   * process does not believe in such a lease until the store confirms it.
   */
  get inDoubt(): boolean {
    return this.#state === 'held' && !this.held && this.clock.now() < this.#deadline;
  }

  /**
   * Whether the lease was not released, and this process has not noticed a loss. Its deadline
   * may have passed, though.
   */
  get open(): boolean {
    return this.#state === 'held';
  }

  get loss(): LockLostError | undefined {
    return this.#loss;
  }

  /**
   * The monotonic time until which the holder may believe in the lease; `Infinity` for an
   * endless lease.
   */
  get deadline(): number {
    return this.#deadline;
  }

  /**
   * When the lease ends unless it is renewed, by this machine's wall clock; `null` for an
   * endless lease.
   */
  get expiresAt(): Date | null {
    return this.#endsAt === Infinity ? null : new Date(this.clock.date() + this.#endsAt - this.clock.now());
  }

  /** Milliseconds that one request for this lease may take. */
  get requestLimit(): number {
    return requestLimitOf(this.#ttl);
  }

  /** The monotonic time at which the renewer has to check the lease again. */
  get wakeAt(): number {
    return this.pendingRequest ? this.#deadline : Math.min(this.renewAt, this.#deadline);
  }

  /**
   * Notes that a request to set the lease to `ttl` is being sent. If `ttl` is shorter than the
   * present ttl, it counts at once, and the lease is renewed in time for it: the store may
   * carry the request out although its answer is lost.
   *
   * @returns a function that the caller calls with the outcome of the request
   */
  sending(ttl: number): (outcome: RequestOutcome) => void {
    const sentAt = this.clock.now();
    const drift = this.clock.wall() - sentAt;
    const asleep = this.#asleep;
    const before = this.#shortestPending();
    const request = { ttl };
    this.#requests = [...this.#requests, request];
    if (ttl < this.#ttl) {
      this.#deadline = Math.min(this.#deadline, sentAt + ttl - marginOf(ttl));
      this.#endsAt = Math.min(this.#endsAt, sentAt + ttl);
      this.renewAt = Math.min(this.renewAt, sentAt + renewalInterval(this.renewEvery, ttl));
    }
    return (outcome) => {
      // The caller may report several outcomes of one request, such as a late answer.
      const others = this.#requests.filter((other) => other !== request);
      this.#requests = others.length > 0 ? others : NO_REQUESTS;
      if (outcome === 'unknown') this.#doubtful = Math.min(this.#doubtful ?? Infinity, ttl);
      const slept = this.#asleep - asleep;
      if (outcome === 'renewed') this.#renewed(sentAt - slept, drift + slept, ttl, before);
    };
  }

  /** Marks the lease as released by its holder; `false` if it was lost or released before. */
  end(): boolean {
    if (this.#state !== 'held') return false;
    this.#state = 'ended';
    return true;
  }

  /** Marks the lease as lost and notifies its holder, once. */
  lose(reason: string): void {
    if (this.#loss) return;
    this.#state = 'lost';
    this.#loss = new LockLostError(this.key, this.fencingToken, reason);
    this.watcher?.lost(this, this.#loss);
  }

  /** Makes the error for a holder that uses a lease in doubt. Such a lease is not lost yet. */
  doubt(): LockLostError {
    return new LockLostError(
      this.key,
      this.fencingToken,
      'as far as this process knows. The machine was suspended, or its clock was set ahead, for longer than the lease had left. When a renewal confirms the lock, it is held again. Call extend() to renew it at once.',
    );
  }

  /** Marks the lease as lost because its deadline has passed. */
  runOut(): void {
    const left = this.#confirmedAt + this.#ttl - this.clock.now();
    this.outlasts = left > 2 * marginOf(this.#ttl);
    this.lose(
      this.inTransaction
        ? 'its transaction took longer than its ttl. Raise the ttl, or move slow work out of the transaction.'
        : 'its lease ran out before a renewal was answered.',
    );
  }

  /**
   * Compares the lease with the clocks. If they put the lease in doubt, it becomes due for a
   * renewal.
   */
  noticeClocks({ sentAt: now, asleep, drift }: Clocks): void {
    this.noticeSleep(asleep);
    if (this.#isDoubtful(now, drift)) this.#becomesDue(now);
  }

  /**
   * Takes account of a suspension of the machine since the last check: the lease has that much
   * less time left, and is renewed at once.
   */
  noticeSleep(asleep: number): void {
    const gap = asleep - this.#asleep;
    if (gap < SLEEP_TOLERANCE) return;
    this.#asleep = asleep;
    // The wall clock went on during the suspension, which must not shorten the lease twice.
    this.#drift += gap;
    this.#deadline -= gap;
    this.#endsAt -= gap;
    this.#confirmedAt -= gap;
    if (this.renewAt !== Infinity) this.renewAt = this.clock.now();
  }

  /** The shortest ttl of all requests for the lease that the store may still carry out. */
  #shortestPending(): number {
    let shortest = this.#doubtful ?? Infinity;
    for (const { ttl } of this.#requests) shortest = Math.min(shortest, ttl);
    return shortest;
  }

  /**
   * Whether the deadline has passed by the wall clock. If the wall clock was set back, its
   * advance counts anew from there, so that setting it never makes a lease longer.
   */
  #isDoubtful(now: number, drift: number): boolean {
    if (drift < this.#drift) this.#drift = drift;
    return now + (drift - this.#drift) >= this.#deadline;
  }

  /**
   * Renews a lease in doubt at once. The getter `held` may call this, although it changes the
   * state of the lease: the work under a lock may notice a jump of the wall clock before the
   * renewer does, and only a renewal ends the doubt.
   */
  #renewAtOnce(now: number): void {
    if (this.#becomesDue(now)) this.watcher?.doubted(this);
  }

  /**
   * Makes a lease in doubt due for a renewal. It does so once in each doubt, since a renewal
   * that fails is repeated with pauses.
   */
  #becomesDue(now: number): boolean {
    if (this.#doubted || this.renewAt === Infinity) return false;
    this.#doubted = true;
    this.renewAt = Math.min(this.renewAt, now);
    return true;
  }

  #renewed(sentAt: number, drift: number, ttl: number, before: number): void {
    // A late answer to an older request does not undo what a newer request has confirmed.
    if (this.#state !== 'held' || sentAt < this.#confirmedAt) return;
    this.#confirmedAt = sentAt;
    this.#drift = drift;
    this.#doubted = false;
    this.#ttl = ttl;
    // A request for a shorter ttl may have been in flight together with this renewal. The
    // store may have carried it out after the renewal, or may still do so. So the shorter ttl
    // counts.
    const certain = Math.min(ttl, before, this.#shortestPending());
    this.#deadline = sentAt + certain - marginOf(certain);
    this.#endsAt = sentAt + certain;
    this.renewAt = sentAt + renewalInterval(this.renewEvery, certain);
    this.alone = false;
  }
}
