import { setTimeout as sleep } from 'node:timers/promises';
import type { ConformanceCase } from '../../lib/testing/index.js';

/**
 * The milliseconds that a case may take on one store. The time limit of a test is longer, so
 * that a store that hangs fails only its own test.
 */
const LIMIT = 120_000;

/**
 * Runs a case on several stores at the same time, because a case mostly waits for leases to
 * expire. Each store has a test of its own.
 */
export class SideBySide {
  readonly #runs = new Map<string, Map<string, Promise<void>>>();

  /** @param stores the cases of each store, by its name */
  constructor(
    private readonly stores: ReadonlyMap<string, readonly ConformanceCase[]>,
    private readonly limit = LIMIT,
  ) {}

  /**
   * Runs the case on all stores, unless it has run already. Rejects if this store fails the
   * case.
   */
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
