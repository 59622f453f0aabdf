import type { Clock } from './clock.js';
import type { LockOutcome } from '../interfaces/lock-record.interface.js';
import type { Lease } from './lease.js';
import type { WaitLimits } from '../options/module.settings.js';

/**
 * Lets a holder release its lock to a waiter. Resolves to the lease that the waiter gets.
 * `unknown`: the release failed, and the store may still carry it out. Never rejects.
 */
export type TakeOver = (holder: Lease, outcome: LockOutcome) => Promise<Lease | 'refused' | 'unknown'>;

/** The limit of `maxWaiters` that is reached. */
export interface Full {
  option: keyof WaitLimits;
  limit: number;
}

/**
 * How often in a row a lock is released to a waiter of this process, before other processes
 * get a chance.
 */
const LONGEST_SERIES = 8;

/** The longest time, in milliseconds, for which a process may keep re-acquiring a busy key. */
const LONGEST_TURN = 2_000;
/** The pause after that, in milliseconds, in which polling processes get a chance. */
const REST = 50;

/** The waiters of one key in this process, in the order of their arrival. */
class WaitQueue {
  readonly waiters = new Set<Waiter>();
  /** Since when, on the monotonic clock, this process has had the lock without a pause. */
  turnSince: number | undefined;
  /** How many calls wait. The others make one attempt, and can be aborted. */
  waiting = 0;

  get first(): Waiter | undefined {
    return this.waiters.values().next().value;
  }
}

/**
 * The queues of all keys. Only the first waiter of a key makes attempts, and the others wait
 * for their turn, so that the load on the database does not grow with the waiters.
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
   * The limit that keeps one more call from waiting for the key, if there is one. The first
   * call for a key does not count towards the total until it has made an attempt.
   */
  full(key: string): Full | undefined {
    const { perKey, total } = this.limits;
    const waiting = this.#queues.get(key)?.waiting ?? 0;
    if (waiting >= perKey) return { option: 'perKey', limit: perKey };
    return waiting > 0 && this.#waiting >= total ? { option: 'total', limit: total } : undefined;
  }

  /** The limit that is exceeded now that the first call for a key has to wait. */
  overfull(): Full | undefined {
    const { total } = this.limits;
    return this.#waiting > total ? { option: 'total', limit: total } : undefined;
  }

  /** A waiter outside of the queues, for a call that makes one attempt. */
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
   * Wakes up the first waiter of the key, which may be free; without a key, the first waiter
   * of each key. Returns whether there is one.
   */
  wake(key?: string): boolean {
    const queues = key === undefined ? [...this.#queues.values()] : [this.#queues.get(key)];
    for (const queue of queues) queue?.first?.wake();
    return queues.some((queue) => queue !== undefined && queue.waiting > 0);
  }

  /**
   * Wakes up the first waiter of a key that a holder of this process has released. From time
   * to time it does so after a pause. Otherwise processes that poll would never get a lock
   * that this process always wants.
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
   * Releases the lock to the first waiter; `undefined` when it is the turn of other
   * processes.
   */
  firstAfter({ storeKey, series }: Lease): TakeOver | undefined {
    return series < LONGEST_SERIES ? this.#queues.get(storeKey)?.first?.takeOver : undefined;
  }

  /** @throws what the queues were closed with */
  assertOpen(): void {
    if (this.#closedWith) throw this.#closedWith;
  }

  /** Ends all waits, also those to come, with this error. */
  close(error: Error): void {
    this.#closedWith = error;
    for (const { waiters } of this.#queues.values()) for (const waiter of waiters) waiter.fail(error);
  }
}

/** A call that waits for a key, in the queue of that key. */
export class Waiter {
  /** Lets a holder release its lock to this waiter; `undefined` while that is not possible. */
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

  /** Notes that another process has the lock, or had it just now. */
  heldElsewhere(): void {
    this.queue.turnSince = undefined;
  }

  /**
   * @param won whether the call got the lock: then the next waiter need not make an attempt
   * at once
   */
  leave(won: boolean): void {
    const wasFirst = this.first;
    this.queue.waiters.delete(this);
    this.onLeave();
    if (!wasFirst) return;
    if (won) this.queue.first?.proceed();
    else this.queue.first?.wake();
  }

  /** Lets the waiter check whether it is the first. */
  proceed(): void {
    this.#proceed?.();
  }

  /** Resolves when this waiter is the first, or at the monotonic time `until`. */
  async turn(until: number): Promise<void> {
    while (!this.first && this.clock.now() < until) await this.#sleep(until - this.clock.now());
  }

  /**
   * Resolves after `ms`, or when the waiter is woken up, also if that was since the last call
   * of `attempting`. Resolves to a lease if a holder released the lock to this waiter.
   *
   * @param takeOver how a holder does that; `undefined` when it cannot
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
      // The pause may end before the holder has released the lock to this waiter.
      const taken = takingOver && (await this.orFailure(takingOver));
      return typeof taken === 'string' ? undefined : taken;
    } finally {
      this.takeOver = undefined;
    }
  }

  /**
   * Notes that an attempt begins. A wake-up that comes later is kept, since it may be about a
   * release that the attempt has not seen.
   *
   * @throws the error that ended this wait
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
      // A wait is work to be done: its timer keeps the process alive.
      const timer = ms === Infinity ? undefined : this.clock.after(ms, end, true);
      this.#proceed = end;
      if (this.#failure) end();
    });
  }
}
