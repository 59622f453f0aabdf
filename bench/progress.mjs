/**
 * Shows the progress of the run: on a terminal as one line that is rewritten, elsewhere as one
 * line for each step.
 */
export class Progress {
  #stream;
  #live;
  #begin = performance.now();
  #title = '';

  constructor(stream = process.stdout) {
    this.#stream = stream;
    this.#live = Boolean(stream.isTTY) && process.env.TERM !== 'dumb';
  }

  /** Shows the title of the measure that begins now. */
  begin(title) {
    this.#title = title;
    if (!this.#live) this.#stream.write(`${this.#clock()}  ${title}\n`);
    else this.tell('');
  }

  /**
   * Shows, only on a terminal and until the next text, which step of the measure is running.
   */
  tell(text) {
    if (!this.#live) return;
    const line = `${this.#clock()}  ${this.#title}  ${text}`.slice(0, (this.#stream.columns || 80) - 1);
    this.#stream.write(`\r${line}\x1b[K`);
  }

  /** Writes a line that later progress does not overwrite. */
  say(line) {
    this.#stream.write(`${this.#live ? '\r' : ''}${line}${this.#live ? '\x1b[K' : ''}\n`);
  }

  /** The seconds since the run began. */
  get seconds() {
    return (performance.now() - this.#begin) / 1000;
  }

  #clock() {
    return `${this.seconds.toFixed(0).padStart(5)} s`;
  }
}
