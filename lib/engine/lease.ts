import type { Clock } from './clock.js';
import { LockLostError } from '../lock.errors.js';
import { marginOf, renewalInterval } from '../options/lease-timing.js';
import { requestLimitOf } from './time-limit.js';

/** The lease that a call wants. */
export interface LeaseSettings {
  /** The key as the user knows it, without the module's prefix. */
  key: string;
  /** The key as the store knows it. */
  storeKey: string;
  /** Milliseconds, or `Infinity`. */
  ttl: number;
  renewEvery: number | undefined | false;
  /**
   * The lease lasts as long as a connection of the store. It has no deadline and is never
   * renewed.
   */
  sessionBound?: boolean;
}

/** The clocks at one moment. */
export interface Clocks {
  /** The monotonic time, such as that just before a request is sent. */
  sentAt: number;
  /** {@link timeAsleep} at that time. */
  asleep: number;
  /** Milliseconds by which the wall clock was ahead of the monotonic clock at that time. */
  drift: number;
}

/** The lease that the store granted, and the clocks before the request. */
export interface LeaseGrant extends Clocks {
  owner: string;
  fencingToken: number;
  /**
   * Whether the request repeated earlier ones that the store may still carry out. They would
   * set the lease to its ttl again.
   */
  resent?: boolean;
}

/** Learns when a lease is lost, or in doubt. */
export interface LeaseWatcher {
  /** The lease is lost. Called once. */
  lost(lease: Lease, error: LockLostError): void;
  /** The clocks put the lease in doubt, so it has to be renewed at once. */
  doubted(lease: Lease): void;
}

/** A renewal in flight. */
interface RenewalRequest {
  ttl: number;
}

const NO_REQUESTS: readonly RenewalRequest[] = [];

/** `os.uptime()` counts whole seconds on some systems. */
const SLEEP_TOLERANCE = 2_000;

/** The outcome of a renewal. `unknown`: it failed, and the store may still carry it out. */
export type RequestOutcome = 'renewed' | 'refused' | 'unknown';

/**
 * A number that grows by the time for which the machine is suspended. The monotonic clock
 * stands still for that time, and the store's clock does not.
 */
export function timeAsleep(clock: Clock): number {
  return clock.uptime() - clock.now();
}

/** Reads the clocks, as just before a request is sent. */
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
 * The monotonic clock stands still while the machine is suspended. So the lease also counts by
 * how much the wall clock has advanced since the last confirmation, and takes the greater of
 * the two. The wall clock may have been set, though. When only the wall clock has passed the
 * deadline, the lease is in doubt: it is not believed until the store confirms it. It is lost
 * when the store says so, or when the monotonic deadline passes.
 */
export class Lease {
  readonly key: string;
  readonly storeKey: string;
  readonly owner: string;
  readonly fencingToken: number;
  readonly sessionBound: boolean;
  /** Milliseconds, see {@link renewalInterval}. */
  readonly renewEvery: number | undefined | false;

  /**
   * The renewal in flight, or the transaction that takes the place of renewals. It resolves
   * when the renewal was answered or given up, or the transaction has ended, and never
   * rejects.
   */
  pendingRequest: Promise<void> | undefined;
  /** The release, from its beginning on. */
  released: Promise<unknown> | undefined;
  /** Whether another process has the lease now: a late answer must not release it. */
  handedOff = false;
  /** The recorded tick, if the store ignored it, see `LockAcquireResult`. */
  ignoredTick: Date | undefined;
  /** How often in a row the lock was released to a waiter of this process. */
  series = 0;
  /** Whether it gets a request of its own: in its last batch the store could not reach it. */
  alone = false;
  /** Whether the lock is in `lock.transaction()`, which takes the place of renewals. */
  inTransaction = false;
  /**
   * Whether the store may keep the lost lease for longer: a request for a shorter ttl was
   * not answered, and may not have been carried out.
   */
  outlasts = false;
  /** When it is next renewed. */
  renewAt: number;
  /** One object for all leases of a process: there may be 100,000 of them. */
  watcher: LeaseWatcher | undefined;
  /** Its place among the leases that are renewed; -1 outside of them. */
  place = -1;
  /** The order in which it was added to them; 0 before. */
  order = 0;

  readonly #acquiredAt: number;
  #state: 'held' | 'lost' | 'ended' = 'held';
  #ttl: number;
  #deadline: number;
  #endsAt: number;
  #confirmedAt: number;
  #asleep: number;
  /**
   * The smallest lead of the wall clock over the monotonic clock since the last confirmation.
   */
  #drift: number;
  #doubted = false;
  #loss: LockLostError | undefined;
  /** The renewals in flight. */
  #requests = NO_REQUESTS;
  /**
   * The shortest ttl of a request that failed, and that the store may still carry out. A
   * server that was frozen may do so at any later time.
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

  /** Milliseconds, or `Infinity`. */
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
   * Whether only the wall clock has passed the deadline: the store has to confirm the lease
   * before it is believed again.
   */
  get inDoubt(): boolean {
    return this.#state === 'held' && !this.held && this.clock.now() < this.#deadline;
  }

  /**
   * Whether the lease was neither released nor noticed as lost. Its deadline may have
   * passed.
   */
  get open(): boolean {
    return this.#state === 'held';
  }

  get loss(): LockLostError | undefined {
    return this.#loss;
  }

  /** On the monotonic clock; `Infinity` for an endless lease. */
  get deadline(): number {
    return this.#deadline;
  }

  /**
   * When it ends unless it is renewed, on this machine's wall clock; `null` for an endless
   * lease.
   */
  get expiresAt(): Date | null {
    return this.#endsAt === Infinity ? null : new Date(this.clock.date() + this.#endsAt - this.clock.now());
  }

  /** Milliseconds that one request may take. */
  get requestLimit(): number {
    return requestLimitOf(this.#ttl);
  }

  /** When the renewer has to check the lease again. */
  get wakeAt(): number {
    return this.pendingRequest ? this.#deadline : Math.min(this.renewAt, this.#deadline);
  }

  /**
   * Notes that a request is sent now that sets the lease to `ttl`. A shorter ttl counts from
   * here on, and the lease is renewed in time for it: the store may carry the request out
   * although its answer is lost.
   *
   * @returns a function to be called with the outcome
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
      // An outcome may be reported more than once.
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

  /** The error for the holder of a lease that is in doubt, and not lost yet. */
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
        ? 'its transaction took longer than its ttl. Raise the ttl, or move what is slow out of the transaction.'
        : 'its lease ran out before a renewal was answered.',
    );
  }

  /** Checks the lease against the clocks. If they put it in doubt, it is due for a renewal. */
  noticeClocks({ sentAt: now, asleep, drift }: Clocks): void {
    this.noticeSleep(asleep);
    if (this.#isDoubtful(now, drift)) this.#becomesDue(now);
  }

  /**
   * Subtracts the time for which the machine was suspended since the last check. After a
   * suspension the lease is renewed at once.
   */
  noticeSleep(asleep: number): void {
    const gap = asleep - this.#asleep;
    if (gap < SLEEP_TOLERANCE) return;
    this.#asleep = asleep;
    this.#drift += gap; // the wall clock has advanced by the gap, which must not count twice
    this.#deadline -= gap;
    this.#endsAt -= gap;
    this.#confirmedAt -= gap;
    if (this.renewAt !== Infinity) this.renewAt = this.clock.now();
  }

  /**
   * The shortest ttl to which a request that the store may still carry out would set the
   * lease.
   */
  #shortestPending(): number {
    let shortest = this.#doubtful ?? Infinity;
    for (const { ttl } of this.#requests) shortest = Math.min(shortest, ttl);
    return shortest;
  }

  /**
   * Whether the deadline has passed by the wall clock. If that was set back, which is noted
   * here, its advance counts from there: a lease never gets longer.
   */
  #isDoubtful(now: number, drift: number): boolean {
    if (drift < this.#drift) this.#drift = drift;
    return now + (drift - this.#drift) >= this.#deadline;
  }

  /**
   * The getter `held` changes the state of the lease here: the work under a lock may notice a
   * jump of the wall clock before the renewer's timer does, and only a renewal ends the doubt.
   */
  #renewAtOnce(now: number): void {
    if (this.#becomesDue(now)) this.watcher?.doubted(this);
  }

  /**
   * Makes a lease in doubt due for a renewal, but only once: a renewal that fails is repeated
   * with pauses.
   */
  #becomesDue(now: number): boolean {
    if (this.#doubted || this.renewAt === Infinity) return false;
    this.#doubted = true;
    this.renewAt = Math.min(this.renewAt, now);
    return true;
  }

  #renewed(sentAt: number, drift: number, ttl: number, before: number): void {
    // A late answer to an older request does not change what a newer one has confirmed.
    if (this.#state !== 'held' || sentAt < this.#confirmedAt) return;
    this.#confirmedAt = sentAt;
    this.#drift = drift;
    this.#doubted = false;
    this.#ttl = ttl;
    // The store may have carried out, or may still carry out, a request with a shorter ttl
    // that was in flight together with this renewal.
    const certain = Math.min(ttl, before, this.#shortestPending());
    this.#deadline = sentAt + certain - marginOf(certain);
    this.#endsAt = sentAt + certain;
    this.renewAt = sentAt + renewalInterval(this.renewEvery, certain);
    this.alone = false;
  }
}
