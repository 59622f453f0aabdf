import type { Clock } from './clock.js';
import type { LockOutcome } from '../interfaces/lock-record.interface.js';
import type { WaitLimits } from '../options/module.settings.js';
import type { Lease } from './lease.js';

/** Has a holder give its lock to one that waits, which gets it as this lease. `unknown`: it failed, and may still be carried out. Never rejects. */
export type Succession = (holder: Lease, outcome: LockOutcome) => Promise<Lease | 'refused' | 'unknown'>;

/** A limit that is reached. */
export interface Full {
  option: keyof WaitLimits;
  limit: number;
}

/** So often in a row a lock goes from one to the next in this process, before those of others have their chance. */
const LONGEST_SERIES = 8;

/** Milliseconds for which the lock stays among the calls of this process, */
const LONGEST_TURN = 2_000;
/** and for which they then leave it alone, where others have to ask for it, and ask twice a second. */
const REST = 50;

/** Those that wait for one key, the first one first. */
class Line {
  readonly places = new Set<Place>();
  /** Since when, on the monotonic clock, the lock has been in this process without a rest. */
  turnSince: number | undefined;
  /** How many of them wait; the others make one attempt, and can be aborted. */
  waiting = 0;

  get first(): Place | undefined {
    return this.places.values().next().value;
  }
}

/**
 * Who waits for which key in this process, first come, first served. Only the first of a key asks the store; the others wait for their turn,
 * so that the load on the database does not grow with the waiters.
 */
export class WaitQueue {
  readonly #lines = new Map<string, Line>();
  #waiting = 0;
  #closedWith: Error | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly limits: WaitLimits = { perKey: Infinity, total: Infinity },
  ) {}

  /** The limit that keeps one more from waiting for the key, if one does. Who is the first to ask for a key is not waiting yet. */
  full(key: string): Full | undefined {
    const { perKey, total } = this.limits;
    const waiting = this.#lines.get(key)?.waiting ?? 0;
    if (waiting >= perKey) return { option: 'perKey', limit: perKey };
    return waiting > 0 && this.#waiting >= total ? { option: 'total', limit: total } : undefined;
  }

  /** The limit that one who has joined is beyond, now that it has to wait. */
  overfull(): Full | undefined {
    const { total } = this.limits;
    return this.#waiting > total ? { option: 'total', limit: total } : undefined;
  }

  /** A place for a call that makes one attempt, beside all lines: nobody waits behind it. */
  aside(): Place {
    return new Place(this.clock, new Line(), () => {});
  }

  join(key: string): Place {
    const line = this.#lines.get(key) ?? new Line();
    this.#lines.set(key, line);
    const place = new Place(this.clock, line, () => {
      line.waiting--;
      this.#waiting--;
      if (line.places.size === 0) this.#lines.delete(key);
    });
    line.places.add(place);
    line.waiting++;
    this.#waiting++;
    if (this.#closedWith) place.fail(this.#closedWith);
    return place;
  }

  /** The key, or without one any key, may have become free: its first waiter looks at once. Tells whether there is one. */
  wake(key?: string): boolean {
    const lines = key === undefined ? [...this.#lines.values()] : [this.#lines.get(key)];
    for (const line of lines) line?.first?.wake();
    return lines.some((line) => line !== undefined && line.waiting > 0);
  }

  /**
   * A holder of this process has released the key. Its first waiter looks at once; but from time to time a little later, or processes that can only ask
   * now and then would never get it from one that always wants it.
   *
   * @param resting whether others can only ask
   * @returns whether somebody waits for it
   */
  freed(key: string, resting: boolean): boolean {
    const line = this.#lines.get(key);
    if (!line) return false;
    const now = this.clock.now();
    line.turnSince ??= now;
    if (resting && now - line.turnSince >= LONGEST_TURN) {
      line.turnSince = undefined;
      this.clock.after(REST, () => this.wake(key), false);
    } else line.first?.wake();
    return line.waiting > 0;
  }

  /** Whether anybody waits for the key. */
  has(key: string): boolean {
    return (this.#lines.get(key)?.waiting ?? 0) > 0;
  }

  /** Who gets the lock when this holder is done: the first one, unless it is time for other processes. */
  heirOf({ storeKey, series }: Lease): Succession | undefined {
    return series < LONGEST_SERIES ? this.#lines.get(storeKey)?.first?.inherit : undefined;
  }

  /** @throws what the queue was closed with */
  assertOpen(): void {
    if (this.#closedWith) throw this.#closedWith;
  }

  /** Ends every wait, also those to come, with this error. */
  close(error: Error): void {
    this.#closedWith = error;
    for (const { places } of this.#lines.values()) for (const place of places) place.fail(error);
  }
}

/** A place in the queue of one key. */
export class Place {
  /** Takes the lock over from its holder; while it can be passed on to this wait. */
  inherit: Succession | undefined;
  #proceed: (() => void) | undefined;
  #woken = false;
  #wakeOnFailure: (() => void) | undefined;
  #failure: { error: unknown } | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly line: Line,
    private readonly onLeave: () => void,
  ) {}

  get first(): boolean {
    return this.line.first === this;
  }

  wake(): void {
    this.#woken = true;
    this.#proceed?.();
  }

  /** Ends this wait with an error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.inherit = undefined;
    this.#proceed?.();
    this.#wakeOnFailure?.();
  }

  /** Somebody in another process has the lock, or had it just now. */
  refused(): void {
    this.line.turnSince = undefined;
  }

  /** @param won whether it has got the lock: then there is nothing to be had for those behind it */
  leave(won: boolean): void {
    const wasFirst = this.first;
    this.line.places.delete(this);
    this.onLeave();
    if (!wasFirst) return;
    if (won) this.line.first?.proceed();
    else this.line.first?.wake();
  }

  /** Has it look whether it is first. */
  proceed(): void {
    this.#proceed?.();
  }

  /** Resolves when it is first, or at the monotonic time `until`. */
  async turn(until: number): Promise<void> {
    while (!this.first && this.clock.now() < until) await this.#sleep(until - this.clock.now());
  }

  /**
   * Resolves after `ms`, or when it is woken, also if that was since the last call of `attempting`; to a lease if the lock was passed on to it.
   *
   * @param succession how that is done, where it can be
   */
  async pause(ms: number, succession?: Succession): Promise<Lease | undefined> {
    if (this.#woken) return undefined;
    let passing: ReturnType<Succession> | undefined;
    this.inherit =
      succession &&
      (async (holder, outcome) => {
        this.inherit = undefined;
        passing = succession(holder, outcome);
        const passed = await passing;
        this.wake();
        return passed;
      });
    try {
      await this.#sleep(ms);
      const passed = passing && (await this.orFailure(passing)); // its time may have come before the answer
      return typeof passed === 'string' ? undefined : passed;
    } finally {
      this.inherit = undefined;
    }
  }

  /** From here on a wake-up is about something newer than the attempt that follows. */
  attempting(): void {
    this.#woken = false;
    if (this.#failure) throw this.#failure.error;
  }

  /** The answer of an attempt, or the error that ended this wait before it came. */
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
