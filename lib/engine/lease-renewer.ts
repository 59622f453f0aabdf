import type { Clock, Timer } from './clock.js';
import type { BatchRenewer, LockStore, RenewalOutcome } from '../interfaces/lock-store.interface.js';
import { sentNow, timeAsleep, type Lease, type RequestOutcome } from './lease.js';
import type { LockError } from '../lock.errors.js';
import { asLockError, isTransient, mayBeCarriedOut, notAnswered, settleWithin } from './settle-within.js';
import { storeTtl } from '../options/lease-timing.js';

/** What the renewer reports; neither may throw. */
export interface RenewerReports {
  /** A renewal failed or was not answered; it is tried again while the lease lasts. */
  renewFailed(lease: Lease, error: LockError): void;
  /** The store extended a lease that was given up here meanwhile: it should be freed. */
  renewedTooLate(lease: Lease): void;
}

/** Batches larger than this stall the other writers of the database. */
const BATCH = 500;
const SHORTEST_RETRY = 20;

/**
 * Renews every held lease of the process with one timer, those that are due together in one request, and notices when a deadline passes.
 */
export class LeaseRenewer {
  readonly #leases = new Set<Lease>();
  #timer: Timer | undefined;
  #wakeAt = Infinity;

  constructor(
    private readonly store: LockStore & Partial<BatchRenewer>,
    private readonly clock: Clock,
    private readonly reports: RenewerReports,
  ) {}

  add(lease: Lease): void {
    this.#leases.add(lease);
    lease.onDoubt = () => this.reschedule(lease);
    this.#wakeBy(lease.wakeAt);
  }

  /** Stops renewing. A renewal that is on its way is `lease.inFlight`: await it before anything else is sent for the lease. */
  remove(lease: Lease): void {
    this.#leases.delete(lease);
    if (this.#leases.size === 0) this.stop();
  }

  /** Looks at the lease again after its times were changed from outside. */
  reschedule(lease: Lease): void {
    if (this.#leases.has(lease)) this.#wakeBy(lease.wakeAt);
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
    const due: Lease[] = [];
    const now = clocks.sentAt;
    let next = Infinity;
    for (const lease of this.#leases) {
      lease.noticeClocks(clocks);
      if (now >= lease.deadline) this.#lose(lease);
      else if (!lease.inFlight && isDue(lease, now)) due.push(lease);
      else next = Math.min(next, lease.wakeAt);
    }
    this.#renewDue(due);
    for (const lease of due) if (this.#leases.has(lease)) next = Math.min(next, lease.wakeAt);
    if (this.#leases.size > 0) this.#wakeBy(next);
  }

  #renewDue(found: Lease[]): void {
    // What the loss of one has its holder do may end others, or renew them. Those beyond one batch stay due: the event loop has its turn before they are sent.
    const due = found.filter((lease) => lease.open && !lease.inFlight).slice(0, BATCH);
    const together = this.store.renewMany ? due.filter((lease) => !lease.alone) : [];
    if (together.length > 0) void this.#renewTogether(together);
    for (const lease of due) if (!lease.inFlight) void this.#renewAlone(lease);
  }

  /**
   * Renews this lease now, by itself and with a ttl that later renewals keep.
   *
   * @throws LockLostError, LockStoreError
   */
  async extend(lease: Lease, ttl: number): Promise<void> {
    while (lease.inFlight) await lease.inFlight;
    lease.noticeSleep(timeAsleep(this.clock));
    if (lease.open && this.clock.now() >= lease.deadline) this.#lose(lease);
    const error = lease.open ? await this.#renewAlone(lease, ttl) : undefined;
    if (lease.loss) throw lease.loss;
    if (error) throw error;
  }

  #renewAlone(lease: Lease, ttl = lease.ttl): Promise<LockError | undefined> {
    return this.#send([lease], ttl, async () => [
      (await this.store.renew(lease.storeKey, lease.owner, storeTtl(ttl))) ? 'renewed' : 'lost',
    ]);
  }

  #renewTogether(leases: Lease[]): Promise<LockError | undefined> {
    const request = leases.map((lease) => ({
      key: lease.storeKey,
      owner: lease.owner,
      ttl: storeTtl(lease.ttl),
    }));
    return this.#send(leases, undefined, async () => (await this.store.renewMany?.(request)) ?? []);
  }

  /** Resolves to what failed, if anything; never rejects, since it runs from a timer. */
  #send(
    leases: Lease[],
    ttl: number | undefined,
    renew: () => Promise<RenewalOutcome[]>,
  ): Promise<LockError | undefined> {
    const now = this.clock.now();
    const answered = leases.map((lease) => lease.sending(ttl ?? lease.ttl));
    const patience = Math.min(...leases.map((lease) => Math.min(lease.attemptTimeout, lease.deadline - now)));
    let failure: unknown;
    const settled = settleWithin(this.clock, patience, renew, {
      answered: (outcomes) =>
        leases.forEach((lease, i) => this.#answer(lease, outcomes[i] ?? 'unknown', answered[i])),
      failed: (error) => {
        failure = error;
        for (const report of answered) report(mayBeCarriedOut(error) ? 'unknown' : 'refused');
      },
    }).then((inTime) => {
      for (const lease of leases) if (lease.inFlight === inFlight) lease.inFlight = undefined;
      const error = this.#failureOf(leases, inTime, failure, patience);
      for (const lease of leases) {
        // What one of them has brought about, be it silence, must not hit the whole batch again.
        if (error && (!isTransient(error) || (!inTime && leases.length > 1))) lease.alone = true;
        if (error) this.reports.renewFailed(lease, error);
        if (lease.renewAt <= this.clock.now()) this.#retryLater(lease);
        // The clocks may have moved during the request.
        else if (!error) lease.noticeClocks(sentNow(this.clock));
        this.reschedule(lease);
      }
      return error;
    });
    const inFlight = settled.then(() => undefined);
    for (const lease of leases) lease.inFlight = inFlight;
    return settled;
  }

  #failureOf(leases: Lease[], inTime: boolean, failure: unknown, patience: number): LockError | undefined {
    const name = leases.length === 1 ? (leases[0]?.key ?? '') : `${leases.length} leases`;
    if (!inTime) return notAnswered('renewal', name, patience);
    return failure === undefined
      ? undefined
      : asLockError(
          failure,
          'renewal',
          name,
          leases.map(({ owner }) => owner),
        );
  }

  #answer(
    lease: Lease,
    outcome: RenewalOutcome,
    answered: ((outcome: RequestOutcome) => void) | undefined,
  ): void {
    const inTime = this.clock.now() < lease.deadline;
    // `unknown` may be on its way still.
    answered?.(outcome === 'lost' || (outcome === 'renewed' && !inTime) ? 'refused' : outcome);
    if (outcome === 'lost') {
      // Whoever has ended it meanwhile freed it; that is no loss.
      if (lease.open) this.#lose(lease, 'the store says that it ran out or was taken away.');
    } else if (outcome === 'renewed') {
      if (lease.open && !inTime) this.#lose(lease);
      if (lease.loss) this.reports.renewedTooLate(lease);
    } else {
      lease.alone = true; // its row was out of reach: it is retried by itself, and soon
    }
  }

  #lose(lease: Lease, reason?: string): void {
    this.#leases.delete(lease);
    if (reason) lease.lose(reason);
    else lease.runOut();
  }

  #retryLater(lease: Lease): void {
    const now = this.clock.now();
    const left = Number.isFinite(lease.deadline) ? lease.deadline - now : lease.attemptTimeout;
    lease.renewAt =
      now + Math.max(SHORTEST_RETRY, Math.min(1_000, left / 8)) * (0.75 + this.clock.random() / 2);
  }
}

/** Leases that are due within a tenth of a usual interval of each other go together. */
function isDue(lease: Lease, now: number): boolean {
  return lease.renewAt - now <= Math.min(250, lease.ttl / 30);
}
