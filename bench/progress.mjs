/**
 * Shows the progress of the run: one line that is rewritten on a terminal, else a line for
 * each step.
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

  /** What is measured from here on. */
  begin(title) {
    this.#title = title;
    if (!this.#live) this.#stream.write(`${this.#clock()}  ${title}\n`);
    else this.tell('');
  }

  /** What is done right now: of interest only as long as it lasts. */
  tell(text) {
    if (!this.#live) return;
    const line = `${this.#clock()}  ${this.#title}  ${text}`.slice(0, (this.#stream.columns || 80) - 1);
    this.#stream.write(`\r${line}\x1b[K`);
  }

  /** A line that stays. */
  say(line) {
    this.#stream.write(`${this.#live ? '\r' : ''}${line}${this.#live ? '\x1b[K' : ''}\n`);
  }

  /** Since the run began. */
  get seconds() {
    return (performance.now() - this.#begin) / 1000;
  }

  #clock() {
    return `${this.seconds.toFixed(0).padStart(5)} s`;
  }
}
