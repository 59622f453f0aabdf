import type { Clock, Timer } from './clock.js';
import type { BatchRenewer, LockStore, RenewalOutcome } from '../interfaces/lock-store.interface.js';
import { LeasesByTime } from './leases-by-time.js';
import { sentNow, type Clocks, timeAsleep, type Lease, type RequestOutcome } from './lease.js';
import type { LockError } from '../lock.errors.js';
import { storeTtl } from '../options/lease-timing.js';
import { isTransient, mayBeCarriedOut, answerWithin } from './time-limit.js';

/** The listener of a renewer. Its methods may not throw. */
export interface RenewerListener {
  /** A renewal failed or was not answered. It is repeated while the lease lasts. */
  renewFailed(lease: Lease, error: LockError): void;
  /** The store has renewed a lease that was lost here meanwhile. It should be released. */
  renewedTooLate(lease: Lease): void;
}

/** Batches larger than this stall the other writers of the database. */
const LARGEST_BATCH = 500;
/**
 * Milliseconds after which a batch is sent with the leases that it has. Code that has not run
 * before is slow, so to fill a large batch would block the event loop.
 */
const LONGEST_TURN = 2;
/** How many leases are taken before the clock is read again. */
const STEP = 50;
const SHORTEST_RETRY = 20;
/** Milliseconds for which a lease may be renewed early, together with others. */
const LONGEST_HEAD_START = 250;
/**
 * Milliseconds. Smaller steps of the clocks are noticed when a lease is due, and by `held`:
 * they are shorter than the margin of a lease.
 */
const CLOCK_STEP = 20;

/**
 * Renews all held leases of a service with one timer, and notices when a deadline passes.
 * Leases that are due together are renewed in one request.
 */
export class LeaseRenewer {
  readonly #leases = new LeasesByTime();
  /** The clocks when they were last compared with those of all leases. */
  #compared: Clocks;
  #timer: Timer | undefined;
  #wakeAt = Infinity;

  constructor(
    private readonly store: LockStore & Partial<BatchRenewer>,
    private readonly clock: Clock,
    private readonly listener: RenewerListener,
  ) {
    this.#compared = sentNow(clock);
  }

  add(lease: Lease): void {
    if (this.#leases.size === 0) this.#compared = sentNow(this.clock);
    this.#leases.set(lease);
    this.#wakeBy(lease.wakeAt);
  }

  /**
   * Stops renewing the lease. Await `lease.pendingRequest` before another request for the
   * lease is sent.
   */
  remove(lease: Lease): void {
    this.#leases.delete(lease);
    if (this.#leases.size === 0) this.stop();
  }

  /** Checks the lease again after its times were changed from outside. */
  reschedule(lease: Lease): void {
    if (!this.#leases.has(lease)) return;
    this.#leases.set(lease);
    this.#wakeBy(lease.wakeAt);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#wakeAt = Infinity;
    this.#leases.clear();
  }

  #wakeBy(time: number): void {
    if (time >= this.#wakeAt) return;
    this.#timer?.cancel();
    this.#wakeAt = time;
    this.#timer = this.clock.after(time - this.clock.now(), () => this.#wake(), false);
  }

  #wake(): void {
    this.#timer = undefined;
    this.#wakeAt = Infinity;
    const clocks = sentNow(this.clock);
    if (this.#haveJumped(clocks)) this.#compareAll(clocks);
    const { due, late } = this.#takeDue(clocks);
    for (const lease of late) this.#lose(lease);
    this.#renewDue(due);
    for (const lease of due) this.reschedule(lease);
    this.#wakeBy(this.#leases.earliest);
  }

  /**
   * The leases that are due for a renewal or have passed their deadline, at most one batch.
   * Those beyond it stay due, so that the event loop has its turn before they are sent.
   */
  #takeDue(clocks: Clocks): { due: Lease[]; late: Lease[] } {
    const now = clocks.sentAt;
    const due: Lease[] = [];
    const late: Lease[] = [];
    const others: Lease[] = [];
    while (due.length + late.length < LARGEST_BATCH) {
      const lease = this.#leases.take(now + LONGEST_HEAD_START);
      if (!lease) break;
      lease.noticeClocks(clocks);
      if (now >= lease.deadline) late.push(lease);
      else if (!lease.pendingRequest && isDue(lease, now)) due.push(lease);
      else others.push(lease);
      const taken = due.length + late.length;
      if (taken > 0 && taken % STEP === 0 && this.clock.now() - now > LONGEST_TURN) break;
    }
    for (const leases of [due, late, others]) for (const lease of leases) this.#leases.set(lease);
    return { due, late };
  }

  /** Whether the machine was suspended, or its wall clock set: that concerns all leases. */
  #haveJumped({ asleep, drift }: Clocks): boolean {
    const before = this.#compared;
    return Math.abs(asleep - before.asleep) > CLOCK_STEP || Math.abs(drift - before.drift) > CLOCK_STEP;
  }

  #compareAll(clocks: Clocks): void {
    this.#compared = clocks;
    this.#leases.change((lease) => lease.noticeClocks(clocks));
  }

  #renewDue(found: Lease[]): void {
    // The listeners of a lost lease may have released or renewed other leases meanwhile.
    const due = found.filter((lease) => lease.open && !lease.pendingRequest);
    const together = this.store.renewMany ? due.filter((lease) => !lease.alone) : [];
    if (together.length > 0) void this.#renewTogether(together);
    for (const lease of due) if (!lease.pendingRequest) void this.#renewAlone(lease);
  }

  /**
   * Renews this lease now, in a request of its own, with a ttl that later renewals keep.
   *
   * @throws LockLostError, LockStoreError
   */
  async extend(lease: Lease, ttl: number): Promise<void> {
    while (lease.pendingRequest) await lease.pendingRequest;
    lease.noticeSleep(timeAsleep(this.clock));
    if (lease.open && this.clock.now() >= lease.deadline) this.#lose(lease);
    const error = lease.open ? await this.#renewAlone(lease, ttl) : undefined;
    if (lease.loss) throw lease.loss;
    if (error) throw error;
  }

  #renewAlone(lease: Lease, ttl = lease.ttl): Promise<LockError | undefined> {
    return this.#send([lease], ttl, async (timeout) => [
      (await this.store.renew(lease.storeKey, lease.owner, storeTtl(ttl), { timeout })) ? 'renewed' : 'lost',
    ]);
  }

  #renewTogether(leases: Lease[]): Promise<LockError | undefined> {
    const request = leases.map((lease) => ({
      key: lease.storeKey,
      owner: lease.owner,
      ttl: storeTtl(lease.ttl),
    }));
    const send = async (timeout: number): Promise<RenewalOutcome[]> =>
      (await this.store.renewMany?.(request, { timeout })) ?? [];
    return this.#send(leases, undefined, send);
  }

  /** Resolves to the failure, if there is one. Never rejects, since it runs from a timer. */
  #send(
    leases: Lease[],
    ttl: number | undefined,
    send: (timeout: number) => Promise<RenewalOutcome[]>,
  ): Promise<LockError | undefined> {
    const now = this.clock.now();
    const notes = leases.map((lease) => lease.sending(ttl ?? lease.ttl));
    const limit = Math.min(...leases.map((lease) => Math.min(lease.requestLimit, lease.deadline - now)));
    let unanswered = false;
    const ended = (error?: LockError): LockError | undefined => {
      for (const lease of leases) if (lease.pendingRequest === pending) lease.pendingRequest = undefined;
      const clocks = sentNow(this.clock); // they may have moved during the request
      for (const lease of leases) this.#ended(lease, clocks, error, unanswered && leases.length > 1);
      return error;
    };
    const settled = answerWithin(this.clock, limit, {
      operation: 'renewal',
      key: leases.length === 1 ? leases[0]?.key : `${leases.length} leases`,
      owners: leases.map(({ owner }) => owner),
      send,
      answered: (outcomes) =>
        leases.forEach((lease, i) => this.#answered(lease, outcomes[i] ?? 'unknown', notes[i])),
      failed: (error, final) => {
        unanswered = !final;
        if (final) for (const note of notes) note(mayBeCarriedOut(error) ? 'unknown' : 'refused');
      },
    }).then(() => ended(), ended);
    const pending = settled.then(() => undefined);
    for (const lease of leases) lease.pendingRequest = pending;
    return settled;
  }

  #ended(lease: Lease, clocks: Clocks, error: LockError | undefined, unansweredBatch: boolean): void {
    // One lease may have made the batch fail, so each lease gets a request of its own.
    if (error && (!isTransient(error) || unansweredBatch)) lease.alone = true;
    if (error) this.listener.renewFailed(lease, error);
    if (lease.renewAt <= clocks.sentAt) this.#retryLater(lease);
    else if (!error) lease.noticeClocks(clocks);
    this.reschedule(lease);
  }

  #answered(
    lease: Lease,
    outcome: RenewalOutcome,
    note: ((outcome: RequestOutcome) => void) | undefined,
  ): void {
    const inTime = this.clock.now() < lease.deadline;
    // A request whose outcome is `unknown` may still be in flight.
    note?.(outcome === 'lost' || (outcome === 'renewed' && !inTime) ? 'refused' : outcome);
    if (outcome === 'lost') {
      // A lease that was released or handed off meanwhile is not lost.
      if (lease.open) this.#lose(lease, 'the store says that it ran out or was taken away.');
    } else if (outcome === 'renewed') {
      if (lease.open && !inTime) this.#lose(lease);
      if (lease.loss) this.listener.renewedTooLate(lease);
    } else {
      lease.alone = true; // the store could not reach its row
    }
  }

  #lose(lease: Lease, reason?: string): void {
    this.#leases.delete(lease);
    if (reason) lease.lose(reason);
    else lease.runOut();
  }

  #retryLater(lease: Lease): void {
    const now = this.clock.now();
    const left = Number.isFinite(lease.deadline) ? lease.deadline - now : lease.requestLimit;
    lease.renewAt =
      now + Math.max(SHORTEST_RETRY, Math.min(1_000, left / 8)) * (0.75 + this.clock.random() / 2);
  }
}

/** Leases that are due within a tenth of a usual interval of each other go together. */
function isDue(lease: Lease, now: number): boolean {
  return lease.renewAt - now <= Math.min(LONGEST_HEAD_START, lease.ttl / 30);
}
