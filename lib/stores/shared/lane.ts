/** The monotonic time and the timers of batches. A simulation uses its own. */
export interface BatchClock {
  /** Milliseconds. */
  now(): number;
  /** The timer does not keep the process alive. */
  after(ms: number, callback: () => void, ref: false): { cancel(): void };
  /** Runs the callback when this turn of the event loop has ended. */
  soon(callback: () => void): void;
}

/** The machine's own time. */
export const MACHINE: BatchClock = {
  now: () => performance.now(),
  after(ms, callback) {
    const timeout = setTimeout(callback, ms).unref();
    return { cancel: () => clearTimeout(timeout) };
  },
  soon: (callback) => void setImmediate(callback),
};

/** Milliseconds after which a statement no longer holds up the next one. */
export const SLOW = 50;

interface UnderWay {
  since: number;
  /** 0 once the statement has been passed. */
  load: number;
  passed: () => void;
}

/** The statements under way that further ones wait for, until they are slow. */
export class Lane {
  readonly #underWay = new Set<UnderWay>();
  #load = 0;

  constructor(private readonly clock: BatchClock) {}

  /** The load of the statements under way that are not slow. */
  get load(): number {
    return this.#load;
  }

  /**
   * Returns a function to call when the statement has ended.
   *
   * @param passed called when further statements pass this one
   */
  begin(load: number, passed: () => void): () => void {
    const statement = { since: this.clock.now(), load, passed };
    this.#underWay.add(statement);
    this.#load += load;
    return () => {
      this.#underWay.delete(statement);
      this.#load -= statement.load;
    };
  }

  /**
   * Lets further statements pass the slow ones.
   *
   * @param most the greatest number of statements under way that have been passed
   */
  passSlow(most: number): void {
    const before = this.clock.now() - SLOW;
    let slow = [...this.#underWay].filter(({ load }) => load === 0).length;
    for (const statement of this.#underWay) {
      if (slow >= most) break;
      if (statement.load === 0 || statement.since > before) continue;
      this.#load -= statement.load;
      statement.load = 0;
      statement.passed();
      slow++;
    }
  }
}
