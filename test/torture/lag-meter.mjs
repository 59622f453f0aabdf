import { now } from './terms.mjs';

const PACE = 10;
const NOTABLE = 15;

/**
 * Records the times in which the machine was too busy to run this process, since the workers
 * are delayed at such times, too.
 */
export class LagMeter {
  /** The times of all delays of more than 15 ms: `{ from, until }`. */
  spans = [];
  #expected = now() + PACE;
  #ticking = setInterval(() => this.#tick(), PACE);

  /** The longest delay in milliseconds. */
  get worst() {
    return Math.round(Math.max(0, ...this.spans.map(({ from, until }) => until - from)));
  }

  end() {
    clearInterval(this.#ticking);
  }

  #tick() {
    const at = now();
    if (at - this.#expected > NOTABLE) this.spans.push({ from: this.#expected, until: at });
    this.#expected = at + PACE;
  }
}
