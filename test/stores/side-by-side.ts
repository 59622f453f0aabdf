import { setTimeout as sleep } from 'node:timers/promises';
import type { ConformanceCase } from '../../lib/testing/index.js';

/** Milliseconds that a rule may take on one store: less than a test, so that one store that hangs fails alone. */
const LIMIT = 120_000;

/**
 * Has several stores keep the same rule at the same time: most of what a rule takes is waiting for leases to end. Each store has a test of its own,
 * which fails by itself.
 */
export class SideBySide {
  readonly #runs = new Map<string, Map<string, Promise<void>>>();

  /** @param stores the cases of each store, by its name */
  constructor(
    private readonly stores: ReadonlyMap<string, readonly ConformanceCase[]>,
    private readonly limit = LIMIT,
  ) {}

  /** Runs the rule on all stores, once, and rejects when this one breaks it. */
  async keeps(store: string, rule: string): Promise<void> {
    const runs = this.#runs.get(rule) ?? this.#start(rule);
    await Promise.allSettled(runs.values());
    const run = runs.get(store);
    if (!run) throw new Error(`${store} has no rule "${rule}".`);
    await run;
  }

  #start(rule: string): Map<string, Promise<void>> {
    const runs = new Map<string, Promise<void>>();
    for (const [store, cases] of this.stores) {
      const found = cases.find(({ name }) => name === rule);
      if (found) runs.set(store, this.#inTime(found.run()));
    }
    this.#runs.set(rule, runs);
    return runs;
  }

  async #inTime(run: Promise<void>): Promise<void> {
    const settled = new AbortController();
    const late = async (): Promise<never> => {
      await sleep(this.limit, undefined, { signal: settled.signal });
      throw new Error(`It did not end within ${this.limit} ms.`);
    };
    await Promise.race([run, late()]).finally(() => settled.abort());
  }
}
