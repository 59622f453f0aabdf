import { now } from './terms.mjs';

const PACE = 10;
const NOTABLE = 15;

/**
 * The times in which the machine did not run this process. A machine that is this busy also
 * delays the workers.
 */
export class LagMeter {
  /** `{ from, until }` */
  spans = [];
  #expected = now() + PACE;
  #ticking = setInterval(() => this.#tick(), PACE);

  /** The longest one, in milliseconds. */
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
