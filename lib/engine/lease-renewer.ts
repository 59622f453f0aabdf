import type { Clock, Timer } from './clock.js';
import type { BatchRenewer, LockStore, RenewalOutcome } from '../interfaces/lock-store.interface.js';
import { LeasesByTime } from './leases-by-time.js';
import { sentNow, type Clocks, timeAsleep, type Lease, type RequestOutcome } from './lease.js';
import type { LockError } from '../lock.errors.js';
import { storeTtl } from '../options/lease-timing.js';
import { isTransient, mayBeCarriedOut, answerWithin } from './time-limit.js';

/** Learns how renewals end. Its methods may not throw. */
export interface RenewerListener {
  /**
   * A renewal has failed, or was not answered in time. The renewer tries again while the lease
   * lasts.
   */
  renewFailed(lease: Lease, error: LockError): void;
  /**
   * The store has renewed a lease that this process counts as lost. The listener should
   * release it.
   */
  renewedTooLate(lease: Lease): void;
}

/**
 * How many leases one request renews at most. A larger batch would stall the other writers of
 * the database.
 */
const LARGEST_BATCH = 500;
/**
 * Milliseconds for collecting a batch. The batch is then sent as it is: code that has not run
 * before is slow, and filling a large batch with it would block the event loop.
 */
const LONGEST_TURN = 2;
/**
 * After this many leases the clock is read again, since a batch is collected for a limited
 * time.
 */
const STEP = 50;
const SHORTEST_RETRY = 20;
/**
 * Milliseconds by which a lease may be renewed early, so that it shares a request with other
 * leases.
 */
const LONGEST_HEAD_START = 250;
/**
 * Milliseconds. Only a larger jump of a clock makes the renewer check all leases at once. A
 * smaller jump is shorter than the margin of a lease, and is noticed when the lease is due or
 * its `held` is read.
 */
const CLOCK_STEP = 20;

/**
 * Renews all held leases of a service with one timer, and notices when a deadline passes.
 * Leases that are due together are renewed in one request.
 */
export class LeaseRenewer {
  readonly #leases = new LeasesByTime();
  /** The times of the clocks when all leases were last checked against them. */
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
   * Stops renewing the lease. A request may still be in flight: await `lease.pendingRequest`
   * before sending another request for the lease.
   */
  remove(lease: Lease): void {
    this.#leases.delete(lease);
    if (this.#leases.size === 0) this.stop();
  }

  /** Sets the timer anew for a lease whose times were changed by other code. */
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
   * Takes the leases that are due for a renewal or have passed their deadline, at most one
   * batch. Further leases stay due for the next batch, so that the event loop can do other
   * work in between.
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

  /**
   * Whether the machine was suspended or its wall clock was set since the last check. All
   * leases have to be checked then.
   */
  #haveJumped({ asleep, drift }: Clocks): boolean {
    const before = this.#compared;
    return Math.abs(asleep - before.asleep) > CLOCK_STEP || Math.abs(drift - before.drift) > CLOCK_STEP;
  }

  #compareAll(clocks: Clocks): void {
    this.#compared = clocks;
    this.#leases.change((lease) => lease.noticeClocks(clocks));
  }

  #renewDue(found: Lease[]): void {
    // When a lease was lost, its listener may have released or renewed other leases of this
    // batch.
    const due = found.filter((lease) => lease.open && !lease.pendingRequest);
    const together = this.store.renewMany ? due.filter((lease) => !lease.alone) : [];
    if (together.length > 0) void this.#renewTogether(together);
    for (const lease of due) if (!lease.pendingRequest) void this.#renewAlone(lease);
  }

  /**
   * Renews this lease now, in a request of its own. Later renewals use the same ttl.
   *
   * @throws LockLostError if the lease is lost, LockStoreError if the store fails
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

  /**
   * Sends a renewal. It resolves to the error if the renewal fails, and never rejects, since a
   * timer may have called it.
   */
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
      // The clocks are read again, since time has passed during the request.
      const clocks = sentNow(this.clock);
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
    // One lease may have made the whole batch fail, so from now on each of its leases is
    // renewed by a request of its own.
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
    // The lease remembers a request with the outcome `unknown`, since the store may still
    // carry it out.
    note?.(outcome === 'lost' || (outcome === 'renewed' && !inTime) ? 'refused' : outcome);
    if (outcome === 'lost') {
      // If the lease was released or handed off during the request, the store no longer has
      // it, and that is no loss.
      if (lease.open) this.#lose(lease, 'the store says that the lease ran out or was taken away.');
    } else if (outcome === 'renewed') {
      if (lease.open && !inTime) this.#lose(lease);
      if (lease.loss) this.listener.renewedTooLate(lease);
    } else {
      // The lease is renewed alone next time, since the store could not reach its row now.
      lease.alone = true;
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

/**
 * Whether the lease is renewed now. Leases that are due soon, within a tenth of a usual
 * interval, share the request of a lease that is due now.
 */
function isDue(lease: Lease, now: number): boolean {
  return lease.renewAt - now <= Math.min(LONGEST_HEAD_START, lease.ttl / 30);
}
