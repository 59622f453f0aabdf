/**
 * Random numbers that can be repeated: each schedule of each seed always gets the same
 * numbers.
 */
export class SeededRandom {
  #state: number;

  constructor(seed: number, schedule: number) {
    this.#state = mix(mix(seed) + schedule);
  }

  /** Returns a number from 0 to below 1. The algorithm is mulberry32 by Tommy Ettinger. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    return mix(this.#state) / 2 ** 32;
  }

  /** Returns a whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** Returns a whole number between the two limits, which are included. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** Returns `true` in `chance` percent of the calls. */
  percent(chance: number): boolean {
    return this.next() * 100 < chance;
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** Returns a random subset: each value is in the subset with this chance in percent. */
  someOf<T>(values: readonly T[], chance: number): T[] {
    return values.filter(() => this.percent(chance));
  }
}

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 15), value | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return (mixed ^ (mixed >>> 14)) >>> 0;
}
