import type { Clock } from './clock.js';
import type { LockOutcome } from '../interfaces/lock-record.interface.js';
import type { Lease } from './lease.js';
import type { WaitLimits } from '../options/module.settings.js';

/**
 * Releases the lock of a holder in this process to a waiter. It resolves to the lease that the
 * waiter gets, or to `unknown` if the release failed and the store may still carry it out. It
 * never rejects.
 */
export type TakeOver = (holder: Lease, outcome: LockOutcome) => Promise<Lease | 'refused' | 'unknown'>;

/** The limit of the option `maxWaiters` that keeps a call from waiting. */
export interface Full {
  option: keyof WaitLimits;
  limit: number;
}

/**
 * How often in a row a lock may be released to a waiter of this process. After that, other
 * processes get a chance.
 */
const LONGEST_SERIES = 8;

/** The longest time, in milliseconds, for which a process may keep re-acquiring a busy key. */
const LONGEST_TURN = 2_000;
/**
 * The pause of a process that has kept re-acquiring a key, in milliseconds. During the pause,
 * polling processes get a chance.
 */
const REST = 50;

/** The waiters of one key in this process, in the order of their arrival. */
class WaitQueue {
  readonly waiters = new Set<Waiter>();
  /** The monotonic time since which this process has kept the lock without a pause. */
  turnSince: number | undefined;
  /**
   * How many calls wait for the key. A call that makes only one attempt does not wait, and is
   * not counted.
   */
  waiting = 0;

  get first(): Waiter | undefined {
    return this.waiters.values().next().value;
  }
}

/**
 * The queues of all keys. Only the first waiter of a key makes attempts. The waiters behind it
 * wait for their turn, so that more waiters do not mean more load on the database.
 */
export class WaitQueues {
  readonly #queues = new Map<string, WaitQueue>();
  #waiting = 0;
  #closedWith: Error | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly limits: WaitLimits = { perKey: Infinity, total: Infinity },
  ) {}

  /**
   * Returns the limit that keeps one more call from waiting for the key, if a limit is
   * reached. The first call for a key does not count towards the total before it has made its
   * first attempt.
   */
  full(key: string): Full | undefined {
    const { perKey, total } = this.limits;
    const waiting = this.#queues.get(key)?.waiting ?? 0;
    if (waiting >= perKey) return { option: 'perKey', limit: perKey };
    return waiting > 0 && this.#waiting >= total ? { option: 'total', limit: total } : undefined;
  }

  /**
   * Returns the limit on all waiters, if the first call for a key exceeds it after a first
   * attempt that did not get the lock.
   */
  overfull(): Full | undefined {
    const { total } = this.limits;
    return this.#waiting > total ? { option: 'total', limit: total } : undefined;
  }

  /** Makes a waiter outside of all queues, for a call that makes only one attempt. */
  aside(): Waiter {
    return new Waiter(this.clock, new WaitQueue(), () => {});
  }

  /** Puts a new waiter at the end of the queue of the key. */
  join(key: string): Waiter {
    const queue = this.#queues.get(key) ?? new WaitQueue();
    this.#queues.set(key, queue);
    const waiter = new Waiter(this.clock, queue, () => {
      queue.waiting--;
      this.#waiting--;
      if (queue.waiters.size === 0) this.#queues.delete(key);
    });
    queue.waiters.add(waiter);
    queue.waiting++;
    this.#waiting++;
    if (this.#closedWith) waiter.fail(this.#closedWith);
    return waiter;
  }

  /**
   * Wakes up the first waiter of a key that may be free; without a key, the first waiter of
   * each key. Returns whether there is such a waiter.
   */
  wake(key?: string): boolean {
    const queues = key === undefined ? [...this.#queues.values()] : [this.#queues.get(key)];
    for (const queue of queues) queue?.first?.wake();
    return queues.some((queue) => queue !== undefined && queue.waiting > 0);
  }

  /**
   * Wakes up the first waiter of a key that a holder of this process has released. If this
   * process has kept the key for long, the waiter is woken up after a pause: processes that
   * poll would otherwise never get the lock.
   *
   * @param othersPoll whether waiters of other processes poll
   * @returns whether there is a waiter
   */
  released(key: string, othersPoll: boolean): boolean {
    const queue = this.#queues.get(key);
    if (!queue) return false;
    const now = this.clock.now();
    queue.turnSince ??= now;
    if (othersPoll && now - queue.turnSince >= LONGEST_TURN) {
      queue.turnSince = undefined;
      this.clock.after(REST, () => this.wake(key), false);
    } else queue.first?.wake();
    return queue.waiting > 0;
  }

  /** Whether calls wait for the key. */
  has(key: string): boolean {
    return (this.#queues.get(key)?.waiting ?? 0) > 0;
  }

  /**
   * Returns the function that releases the lock to the first waiter; `undefined` if there is
   * no waiter that can take it, or if it is the turn of other processes.
   */
  firstAfter({ storeKey, series }: Lease): TakeOver | undefined {
    return series < LONGEST_SERIES ? this.#queues.get(storeKey)?.first?.takeOver : undefined;
  }

  /** @throws the error that {@link close} got, if the queues were closed */
  assertOpen(): void {
    if (this.#closedWith) throw this.#closedWith;
  }

  /** Ends all waits with this error. Waits that begin later end with the same error. */
  close(error: Error): void {
    this.#closedWith = error;
    for (const { waiters } of this.#queues.values()) for (const waiter of waiters) waiter.fail(error);
  }
}

/** One call in the queue of a key. */
export class Waiter {
  /** Releases the lock of a holder to this waiter; `undefined` while that is not possible. */
  takeOver: TakeOver | undefined;
  #proceed: (() => void) | undefined;
  #woken = false;
  #wakeOnFailure: (() => void) | undefined;
  #failure: { error: unknown } | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly queue: WaitQueue,
    private readonly onLeave: () => void,
  ) {}

  get first(): boolean {
    return this.queue.first === this;
  }

  wake(): void {
    this.#woken = true;
    this.#proceed?.();
  }

  /** Ends this wait with an error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.takeOver = undefined;
    this.#proceed?.();
    this.#wakeOnFailure?.();
  }

  /**
   * Notes that another process has the lock, or has just had it: the turn of this process has
   * ended.
   */
  heldElsewhere(): void {
    this.queue.turnSince = undefined;
  }

  /**
   * Removes the waiter from its queue.
   *
   * @param won whether the call got the lock. If it did, the next waiter becomes the first,
   * but need not make an attempt at once
   */
  leave(won: boolean): void {
    const wasFirst = this.first;
    this.queue.waiters.delete(this);
    this.onLeave();
    if (!wasFirst) return;
    if (won) this.queue.first?.proceed();
    else this.queue.first?.wake();
  }

  /** Ends the present pause of the waiter, so that it checks whether it is the first now. */
  proceed(): void {
    this.#proceed?.();
  }

  /** Resolves when this waiter has become the first, or at the monotonic time `until`. */
  async turn(until: number): Promise<void> {
    while (!this.first && this.clock.now() < until) await this.#sleep(until - this.clock.now());
  }

  /**
   * Resolves after `ms`, or when the waiter is woken up. If it was woken up since the last
   * call of `attempting`, that is at once. Resolves to a lease if a holder released the lock
   * to this waiter.
   *
   * @param takeOver releases the lock to this waiter; `undefined` if no holder can do that
   */
  async pause(ms: number, takeOver?: TakeOver): Promise<Lease | undefined> {
    if (this.#woken) return undefined;
    let takingOver: ReturnType<TakeOver> | undefined;
    this.takeOver =
      takeOver &&
      (async (holder, outcome) => {
        this.takeOver = undefined;
        takingOver = takeOver(holder, outcome);
        const taken = await takingOver;
        this.wake();
        return taken;
      });
    try {
      await this.#sleep(ms);
      // If a holder is releasing the lock to this waiter when the pause ends, wait for the
      // result.
      const taken = takingOver && (await this.orFailure(takingOver));
      return typeof taken === 'string' ? undefined : taken;
    } finally {
      this.takeOver = undefined;
    }
  }

  /**
   * Notes that an attempt begins. A wake-up that comes during the attempt is remembered, since
   * it may be about a release that came too late for the attempt.
   *
   * @throws the error that ended this wait, if it has ended
   */
  attempting(): void {
    this.#woken = false;
    if (this.#failure) throw this.#failure.error;
  }

  /**
   * Resolves to the result of an attempt. If the wait ends with an error first, it rejects.
   */
  orFailure<T>(attempt: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#wakeOnFailure = () => reject(this.#failure?.error);
      const settled = (): void => void (this.#wakeOnFailure = undefined);
      attempt.then(resolve, reject).then(settled, settled);
      if (this.#failure) reject(this.#failure.error);
    });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#proceed = undefined;
        timer?.cancel();
        if (this.#failure) reject(this.#failure.error);
        else resolve();
      };
      // The call is work to be done, so the timer of its wait keeps the process alive.
      const timer = ms === Infinity ? undefined : this.clock.after(ms, end, true);
      this.#proceed = end;
      if (this.#failure) end();
    });
  }
}
