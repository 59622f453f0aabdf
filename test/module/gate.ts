/** A point in a test's job where it stops until the test opens the gate. */
export class Gate {
  /** Resolves when a call has reached the gate. */
  readonly reached: Promise<void>;
  passed = 0;
  #reach: () => void = () => {};
  #open: () => void = () => {};
  readonly #opened: Promise<void>;

  constructor() {
    this.reached = new Promise((resolve) => (this.#reach = resolve));
    this.#opened = new Promise((resolve) => (this.#open = resolve));
  }

  open(): void {
    this.#open();
  }

  async pass(): Promise<void> {
    this.passed++;
    this.#reach();
    await this.#opened;
  }
}
