/**
 * Shows progress in one line. On a terminal the line is rewritten in place; elsewhere a new
 * line appears every few seconds.
 */
export class Progress {
  #stream;
  #live;
  #last;

  constructor(stream = process.stdout) {
    this.#stream = stream;
    this.#live = stream.isTTY && process.env.TERM !== 'dumb';
    this.#last = performance.now();
  }

  /** @param text returns the line; it is called only if a line is due */
  show(text) {
    if (performance.now() - this.#last < (this.#live ? 100 : 3_000)) return;
    this.#last = performance.now();
    this.#stream.write(
      this.#live ? `\r\x1b[K${text().slice(0, (this.#stream.columns || 80) - 1)}` : `${text()}\n`,
    );
  }

  /** Removes the line. */
  end() {
    if (this.#live) this.#stream.write('\r\x1b[K');
  }
}
