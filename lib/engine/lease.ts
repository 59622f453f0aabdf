import type { Clock } from './clock.js';
import { LockLostError } from '../lock.errors.js';
import { attemptTimeoutOf, marginOf, renewalInterval } from '../options/lease-timing.js';

/** What was asked for. */
export interface LeaseSettings {
  /** The key as the user knows it, without the module's prefix. */
  key: string;
  /** The key as the store knows it. */
  storeKey: string;
  /** Milliseconds, or `Infinity`. */
  ttl: number;
  renewEvery: number | undefined | false;
  /** It lasts as long as a connection of the store: without a deadline, and never renewed. */
  sessionBound?: boolean;
}

/** What was granted, by which request. */
export interface LeaseGrant {
  owner: string;
  fencingToken: number;
  /** The monotonic time just before the request that was granted left. */
  sentAt: number;
  /** {@link timeAsleep} then. */
  asleep: number;
  /** Milliseconds by which the wall clock was ahead of the monotonic clock then. */
  drift: number;
  /** Whether it repeated others that may still be carried out: they would set the lease to its ttl again. */
  resent?: boolean;
}

/** `os.uptime()` counts whole seconds on some systems. */
const SLEEP_TOLERANCE = 2_000;

/** What became of a request for a lease; `unknown`: it failed, and may still be carried out. */
export type RequestOutcome = 'renewed' | 'refused' | 'unknown';

/** A number that grows by the time for which the machine is suspended: its monotonic clock stands still then, the store's does not. */
export function timeAsleep(clock: Clock): number {
  return clock.uptime() - clock.now();
}

/** Reads the clocks just before a request is sent, see {@link LeaseGrant}. */
export function sentNow(clock: Clock): Pick<LeaseGrant, 'sentAt' | 'asleep' | 'drift'> {
  const sentAt = clock.now();
  return { sentAt, asleep: timeAsleep(clock), drift: clock.wall() - sentAt };
}

/**
 * What this process may believe about one acquisition.
 *
 * The deadline counts from *before* the request was sent, less a margin, on the monotonic clock: however late the answer came, it lies before
 * the moment at which the store lets another in.
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
  readonly acquiredAt: Date;
  readonly sessionBound: boolean;

  /** The renewal that is on its way, settled (never rejected) when it was answered or given up. */
  inFlight: Promise<void> | undefined;
  /** Its release, from its beginning on. */
  released: Promise<unknown> | undefined;
  /** Another process goes on with it: nothing that comes late may free it. */
  handedOn = false;
  /** The recorded tick, if the store ignored it, see `LockAcquireResult`. */
  ignoredTick: Date | undefined;
  /** How often in a row the lock was passed on until it came here. */
  series = 0;
  /** Renew it by itself: in its last batch the store could not reach it. */
  alone = false;
  /** A transaction that the lock is tied to stands in the place of renewals. */
  inTransaction = false;
  /** It was lost although the store may keep it for longer: a request for a shorter ttl was not answered, and may not have been carried out. */
  outlasts = false;
  /** When it is next renewed. */
  renewAt: number;
  /** Told once when the lease is lost. */
  onLost: ((error: LockLostError) => void) | undefined;
  /** Called when the clocks put the lease in doubt, so that it is renewed at once. */
  onDoubt: (() => void) | undefined;

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
  /** The requests that are on their way. */
  #underway: readonly { ttl: number }[] = [];
  /** The shortest ttl of a request that failed and may still be carried out: a server that was frozen has it in hand, however long that lasts. */
  #doubtful = Infinity;

  constructor(
    terms: LeaseSettings,
    grant: LeaseGrant,
    private readonly clock: Clock,
  ) {
    this.key = terms.key;
    this.storeKey = terms.storeKey;
    this.owner = grant.owner;
    this.fencingToken = grant.fencingToken;
    this.sessionBound = terms.sessionBound ?? false;
    this.renewEvery = terms.renewEvery;
    this.acquiredAt = new Date(clock.date());
    this.#ttl = terms.ttl;
    this.#deadline = grant.sentAt + terms.ttl - marginOf(terms.ttl);
    this.#endsAt = grant.sentAt + terms.ttl;
    this.#confirmedAt = grant.sentAt;
    this.#asleep = grant.asleep;
    this.#drift = grant.drift;
    if (grant.resent) this.#doubtful = terms.ttl;
    this.renewAt = grant.sentAt + renewalInterval(terms.renewEvery, terms.ttl);
  }

  private readonly renewEvery: number | undefined | false;

  /** Milliseconds, or `Infinity`. */
  get ttl(): number {
    return this.#ttl;
  }

  get held(): boolean {
    if (this.#state !== 'held') return false;
    const now = this.clock.now();
    if (now >= this.#deadline) return false;
    if (!this.#isDoubtful(now, this.clock.wall() - now)) return true;
    if (this.#becomesDue(now)) this.onDoubt?.();
    return false;
  }

  /**
   * Whether only the wall clock has passed the deadline: the store has to confirm the lease
   * before it is believed again.
   */
  get inDoubt(): boolean {
    return this.#state === 'held' && !this.held && this.clock.now() < this.#deadline;
  }

  /** Whether nobody has released it and no loss was noticed; the deadline may have passed. */
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

  /** When it ends unless it is renewed, on this machine's wall clock; `null` for an endless lease. */
  get expiresAt(): Date | null {
    return this.#endsAt === Infinity ? null : new Date(this.clock.date() + this.#endsAt - this.clock.now());
  }

  /** How long one request may take. */
  get attemptTimeout(): number {
    return attemptTimeoutOf(this.#ttl);
  }

  /** When the renewer has to look at it again. */
  get wakeAt(): number {
    return this.inFlight ? this.#deadline : Math.min(this.renewAt, this.#deadline);
  }

  /**
   * Notes that a request which sets the lease to `ttl` leaves now; call what is returned when it was answered.
   *
   * A shorter ttl counts from here on, since the request may be carried out without our hearing of it; then the lease is renewed in time for it.
   */
  sending(ttl: number): (outcome: RequestOutcome) => void {
    const sentAt = this.clock.now();
    const drift = this.clock.wall() - sentAt;
    const asleep = this.#asleep;
    const before = this.#shortestPending();
    const request = { ttl };
    this.#underway = [...this.#underway, request];
    if (ttl < this.#ttl) {
      this.#deadline = Math.min(this.#deadline, sentAt + ttl - marginOf(ttl));
      this.#endsAt = Math.min(this.#endsAt, sentAt + ttl);
      this.renewAt = Math.min(this.renewAt, sentAt + renewalInterval(this.renewEvery, ttl));
    }
    return (outcome) => {
      this.#underway = this.#underway.filter((other) => other !== request); // an answer may be reported more than once
      if (outcome === 'unknown') this.#doubtful = Math.min(this.#doubtful, ttl);
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

  /** Marks the lease as lost and tells its holder, once. */
  lose(reason: string): void {
    if (this.#loss) return;
    this.#state = 'lost';
    this.#loss = new LockLostError(this.key, this.fencingToken, reason);
    this.onLost?.(this.#loss);
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
  noticeClocks({ sentAt: now, asleep, drift }: Pick<LeaseGrant, 'sentAt' | 'asleep' | 'drift'>): void {
    this.noticeSleep(asleep);
    if (this.#isDoubtful(now, drift)) this.#becomesDue(now);
  }

  /** Takes off the time for which the machine was suspended since the last look, if it was; then it is renewed at once. */
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

  /** The shortest ttl to which a request that may still be carried out would set the lease. */
  #shortestPending(): number {
    return Math.min(this.#doubtful, ...this.#underway.map(({ ttl }) => ttl));
  }

  /**
   * Whether the deadline has passed by the wall clock. If that was set back, its advance
   * counts from there: a lease never gets longer.
   */
  #isDoubtful(now: number, drift: number): boolean {
    if (drift < this.#drift) this.#drift = drift;
    return now + (drift - this.#drift) >= this.#deadline;
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
    // What a newer request has told stays true when the answer of an older one comes late.
    if (this.#state !== 'held' || sentAt < this.#confirmedAt) return;
    this.#confirmedAt = sentAt;
    this.#drift = drift;
    this.#doubted = false;
    this.#ttl = ttl;
    // A request with a shorter ttl that was on its way together with this one may have been, or may be, carried out after it.
    const certain = Math.min(ttl, before, this.#shortestPending());
    this.#deadline = sentAt + certain - marginOf(certain);
    this.#endsAt = sentAt + certain;
    this.renewAt = sentAt + renewalInterval(this.renewEvery, certain);
    this.alone = false;
  }
}
