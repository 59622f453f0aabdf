/** Where the body of a test's job stops until the test lets it go on. */
export class Gate {
  /** Resolves when the body has come here. */
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
