/** The methods that `@nestjs/locks` needs from a store. */
interface SharedStore {
  acquire(
    key: string,
    owner: string,
    ttl: number,
  ): Promise<{ acquired: true; fencingToken: number } | { acquired: false }>;
  renew(key: string, owner: string, ttl: number): Promise<boolean>;
  release(key: string, owner: string): Promise<boolean>;
}

/**
 * Stands in for the `LocksStorage` of `@nestjs/locks`, which is not on the registry. The
 * application's store registers itself with this class once, before the first use.
 */
export class LocksStorage {
  #store: SharedStore | undefined;
  #isFixed = false;

  registerSource(store: SharedStore): void {
    for (const method of ['acquire', 'renew', 'release'] as const)
      if (typeof store[method] !== 'function') throw new TypeError(`The store has no ${method}().`);
    if (this.#isFixed || this.#store) throw new Error('The store comes too late, or is the second one.');
    this.#store = store;
  }

  get source(): SharedStore {
    this.#isFixed = true;
    if (!this.#store) throw new Error('No store was registered.');
    return this.#store;
  }
}
