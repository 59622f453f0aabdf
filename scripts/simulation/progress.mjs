/**
 * A line that shows progress: rewritten in place on a terminal, else written again every few
 * seconds.
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

  /** @param text makes the line; it is called only when there is something to show */
  show(text) {
    if (performance.now() - this.#last < (this.#live ? 100 : 3_000)) return;
    this.#last = performance.now();
    this.#stream.write(
      this.#live ? `\r\x1b[K${text().slice(0, (this.#stream.columns || 80) - 1)}` : `${text()}\n`,
    );
  }

  /** Takes the line away. */
  end() {
    if (this.#live) this.#stream.write('\r\x1b[K');
  }
}
