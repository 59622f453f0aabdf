import type { Lease } from './lease.js';

/**
 * Sorts the leases of a process by the time at which each has to be checked. It is a heap,
 * which finds the earliest lease at once even among 100,000 leases.
 */
export class LeasesByTime {
  readonly #leases: Lease[] = [];
  /**
   * The times of the leases: each has the same index here as its lease in the other array. A
   * property on each lease would take more memory.
   */
  readonly #times: number[] = [];
  #added = 0;

  get size(): number {
    return this.#leases.length;
  }

  /** The time of the earliest lease; `Infinity` without leases. */
  get earliest(): number {
    return this.#times[0] ?? Infinity;
  }

  has(lease: Lease): boolean {
    return lease.place >= 0;
  }

  /**
   * Adds the lease with its time `wakeAt`. A lease that was added before moves to that time.
   */
  set(lease: Lease): void {
    if (lease.order === 0) lease.order = ++this.#added;
    const place = this.has(lease) ? lease.place : this.size;
    this.#move(lease, lease.wakeAt, place);
  }

  delete(lease: Lease): void {
    if (!this.has(lease)) return;
    const { place } = lease;
    lease.place = -1;
    const last = this.#leases.pop();
    const time = this.#times.pop() ?? Infinity;
    if (last && last !== lease) this.#move(last, time, place);
  }

  /** Removes and returns the earliest lease, if its time is `until` or earlier. */
  take(until: number): Lease | undefined {
    const [lease] = this.#leases;
    if (!lease || this.earliest > until) return undefined;
    this.delete(lease);
    return lease;
  }

  clear(): void {
    for (const lease of this.#leases) lease.place = -1;
    this.#leases.length = 0;
    this.#times.length = 0;
  }

  /** Calls `change` with each lease, and then sorts the leases by their new times. */
  change(change: (lease: Lease) => void): void {
    const all = [...this.#leases];
    this.clear();
    for (const lease of all) {
      change(lease);
      this.set(lease);
    }
  }

  /**
   * Moves the lease up or down in the heap to where its time belongs. `start` is a free index,
   * or that of the lease.
   */
  #move(lease: Lease, time: number, start: number): void {
    let place = start;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#isBefore(parent, time, lease.order)) break;
      this.#moveTo(place, parent);
      place = parent;
    }
    for (;;) {
      const left = 2 * place + 1;
      const child = this.#isBefore(left + 1, this.#timeAt(left), this.#orderAt(left)) ? left + 1 : left;
      if (!this.#isBefore(child, time, lease.order)) break;
      this.#moveTo(place, child);
      place = child;
    }
    this.#leases[place] = lease;
    this.#times[place] = time;
    lease.place = place;
  }

  #moveTo(place: number, from: number): void {
    const lease = this.#leases[from];
    if (!lease) return;
    this.#leases[place] = lease;
    this.#times[place] = this.#timeAt(from);
    lease.place = place;
  }

  /**
   * Whether the lease at an index comes before another time and order. Leases with the same
   * time keep the order in which they were added.
   */
  #isBefore(place: number, time: number, order: number): boolean {
    const own = this.#timeAt(place);
    return own < time || (own === time && this.#orderAt(place) < order);
  }

  #orderAt(place: number): number {
    return this.#leases[place]?.order ?? Infinity;
  }

  #timeAt(place: number): number {
    return this.#times[place] ?? Infinity;
  }
}
