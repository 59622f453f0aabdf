/** Random numbers that are the same each time: one stream for each schedule of each seed. */
export class SeededRandom {
  #state: number;

  constructor(seed: number, schedule: number) {
    this.#state = mix(mix(seed) + schedule);
  }

  /** From 0 to 1; the algorithm is Tommy Ettinger's mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    return mix(this.#state) / 2 ** 32;
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** A whole number, both ends included. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True in `chance` percent of the calls. */
  percent(chance: number): boolean {
    return this.next() * 100 < chance;
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** A subset; each value is in it with this chance, independently of the others. */
  someOf<T>(values: readonly T[], chance: number): T[] {
    return values.filter(() => this.percent(chance));
  }
}

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 15), value | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return (mixed ^ (mixed >>> 14)) >>> 0;
}
