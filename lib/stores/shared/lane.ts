/** The monotonic time and the timers of batches. A simulation replaces them. */
export interface BatchClock {
  /** The monotonic time in milliseconds. */
  now(): number;
  /** Starts a timer, which does not keep the process alive. */
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
  /**
   * What the statement adds to the load of the lane; 0 once further statements no longer wait
   * for it.
   */
  load: number;
  passed: () => void;
}

/** The statements under way. Further statements wait for them, except for slow ones. */
export class Lane {
  readonly #underWay = new Set<UnderWay>();
  #load = 0;

  constructor(private readonly clock: BatchClock) {}

  /** The total load of the statements for which further statements have to wait. */
  get load(): number {
    return this.#load;
  }

  /**
   * Adds a statement, and returns a function to call when it has ended.
   *
   * @param passed called when further statements no longer wait for this statement
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
   * Lets further statements go on without waiting for slow statements.
   *
   * @param most how many passed statements may be under way at the same time
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
