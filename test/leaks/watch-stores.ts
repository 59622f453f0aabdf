import { afterEach, expect } from '@jest/globals';
import { LockError } from '../../lib/lock.errors.js';
import { MongoLockStore } from '../../lib/stores/mongodb/mongo-lock.store.js';
import { TypeOrmLockStore, TypeOrmSessionLockStore } from '../../lib/stores/typeorm/index.js';
import { OwnerIndex } from './shown-by.js';

/** Reads the owner ids from the arguments of each method of a store. */
const METHODS: Record<string, (...args: any[]) => string[]> = {
  acquire: (_key, owner) => [owner],
  renew: (_key, owner) => [owner],
  release: (_key, owner) => [owner],
  releaseToWaiter: (_key, owner, next) => [owner, next?.owner],
  renewMany: (leases) => leases.map(({ owner }: { owner: string }) => owner),
  guard: (_context, _key, owner) => [owner],
  inspect: () => [],
  list: () => [],
  forceRelease: () => [],
  pause: () => [],
  resume: () => [],
  purge: () => [],
  prepare: () => [],
};
/**
 * Matches a doubled full stop, which arises when a sentence ends with a text that has a full
 * stop already.
 */
const DOUBLED = /(?<!\.)[.!?:]\.(?=\s|$)/;

const leaks = new Set<string>();
const owners = new OwnerIndex();

/**
 * Checks every error that leaves a store in this spec file, and fails the test in which an
 * error shows an owner id.
 */
export function watchStores(): void {
  for (const { prototype } of [TypeOrmLockStore, TypeOrmSessionLockStore, MongoLockStore])
    for (const [method, ownersOf] of Object.entries(METHODS)) {
      const original: unknown = Reflect.get(prototype, method);
      if (typeof original === 'function') Reflect.set(prototype, method, watched(original, method, ownersOf));
    }
  afterEach(() => {
    const found = [...leaks];
    leaks.clear();
    expect(found).toEqual([]);
  });
}

function watched(original: Function, method: string, ownersOf: (...args: any[]) => string[]): Function {
  return async function (this: object, ...args: any[]): Promise<unknown> {
    try {
      return await original.apply(this, args);
    } catch (error) {
      remember(args, ownersOf);
      const key = typeof args[0] === 'string' ? args[0] : '';
      const shown = owners.shownBy(error).filter((owner) => !key.includes(owner));
      if (shown.length > 0) leaks.add(`the error of ${method} shows the owner ids ${shown.join(', ')}`);
      if (error instanceof LockError && DOUBLED.test(error.message))
        leaks.add(`the error of ${method} ends a sentence twice: ${error.message}`);
      throw error;
    } finally {
      remember(args, ownersOf);
    }
  };
}

function remember(args: any[], ownersOf: (...args: any[]) => string[]): void {
  try {
    for (const owner of ownersOf(...args)) if (typeof owner === 'string') owners.add(owner);
  } catch {
    // Some specs pass invalid arguments, which contain no owner id, to test that the store
    // refuses them.
  }
}
