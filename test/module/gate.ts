/** Calls await this promise, and so stop in the middle until the test opens the gate. */
export class Gate {
  /** Resolves when the first call has reached the gate. */
  readonly reached: Promise<void>;
  /** The number of calls that have reached the gate. */
  arrivals = 0;
  open: () => void = () => {};
  #reach: () => void = () => {};
  readonly #opened: Promise<void>;

  constructor() {
    this.reached = new Promise((resolve) => (this.#reach = resolve));
    this.#opened = new Promise((resolve) => (this.open = resolve));
  }

  async pass(): Promise<void> {
    this.arrivals++;
    this.#reach();
    await this.#opened;
  }
}
