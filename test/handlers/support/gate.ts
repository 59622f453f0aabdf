/** Where a handler stops until the test lets it go on. */
export class Gate {
  readonly reached: Promise<void>;
  /** How many have come here. */
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
