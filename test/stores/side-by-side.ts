import type { ConformanceCase } from '../../lib/testing/index.js';

/**
 * Has several stores keep the same rule at the same time: most of what a rule takes is waiting for leases to end. Each store has a test of its own,
 * which fails by itself.
 */
export class SideBySide {
  readonly #runs = new Map<string, Map<string, Promise<void>>>();

  /** @param stores the cases of each store, by its name */
  constructor(private readonly stores: ReadonlyMap<string, readonly ConformanceCase[]>) {}

  /** Runs the rule on all stores, once, and rejects as this one does. */
  async keeps(store: string, rule: string): Promise<void> {
    const runs = this.#runs.get(rule) ?? this.#start(rule);
    await Promise.allSettled(runs.values());
    await runs.get(store);
  }

  #start(rule: string): Map<string, Promise<void>> {
    const runs = new Map<string, Promise<void>>();
    for (const [store, cases] of this.stores) {
      const found = cases.find(({ name }) => name === rule);
      if (found) runs.set(store, found.run());
    }
    this.#runs.set(rule, runs);
    return runs;
  }
}
