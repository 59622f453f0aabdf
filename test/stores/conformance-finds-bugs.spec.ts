import { describe, expect, it } from '@jest/globals';
import type { LockStore, StoreLifecycle } from '../../lib/interfaces/lock-store.interface.js';
import { MemoryLockStore } from '../../lib/stores/memory/memory-lock.store.js';
import {
  lockStoreConformance,
  type ConformanceCase,
  type ConformanceOptions,
} from '../../lib/testing/lock-store-conformance.js';
import { operationsOf } from '../simulation/simulated-database.js';
import { plantedBugs, RightStore } from './conformance-planted-bugs.js';

const QUICK: ConformanceOptions = { ttl: 60, rounds: 3, racers: 8 };

describe('planted bugs of lock stores', () => {
  it('the conformance suite finds no bug in the sound store', async () => {
    const right = new RightStore();
    expect(await failures(() => operationsOf(right), QUICK)).toEqual([]);
  });

  it.each(plantedBugs)('the bug "$name" is found by the case "$foundBy"', async ({ plant, foundBy }) => {
    const right = new RightStore();
    const broken = { ...operationsOf(right), ...plant(right) };
    await expect(find(foundBy, () => broken).run()).rejects.toThrow();
  });

  it('the bug "each instance counts its own tokens" is found by the case "B38 each grant after a release has a larger token, in all instances"', async () => {
    const right = new RightStore();
    const instance = (): LockStore => {
      let token = 0;
      return {
        ...operationsOf(right),
        async acquire(...args) {
          const result = await right.acquire(...args);
          return result.acquired ? { acquired: true, fencingToken: ++token } : result;
        },
      };
    };
    await expect(
      find('B38 each grant after a release has a larger token, in all instances', instance).run(),
    ).rejects.toThrow();
  });

  it('each conformance case finds at least one planted bug', () => {
    const found = new Set(plantedBugs.map(({ foundBy }) => foundBy));
    const cases = lockStoreConformance(() => new MemoryLockStore()).map(({ name }) => name);
    expect(cases.filter((name) => !found.has(name))).toEqual([]);
  });
});

describe('lockStoreConformance()', () => {
  const core = (store: LockStore): LockStore => ({
    acquire: store.acquire.bind(store),
    renew: store.renew.bind(store),
    release: store.release.bind(store),
  });

  it('B90 the suite fails for a store without the optional parts, and the error tells how to leave them out', async () => {
    const store = new MemoryLockStore();
    const missing = await failures(() => core(store), QUICK);
    expect(missing.length).toBeGreaterThan(20);
    for (const { error } of missing)
      expect(String(error)).toMatch(/without: \["(inspect|renewMany|releaseToWaiter|pause)"\]/);
  });

  it('B90 a store with only three operations passes the suite if the extras are left out', async () => {
    const store = new MemoryLockStore();
    const without: ConformanceOptions['without'] = ['inspect', 'renewMany', 'releaseToWaiter', 'pause'];
    expect(await failures(() => core(store), { ...QUICK, without })).toEqual([]);
  });

  it('B90 a store that takes only key, owner and ttl passes the suite if all other parts are left out', async () => {
    const store = new MemoryLockStore();
    const plain = (): LockStore => ({
      ...core(store),
      acquire: (key, owner, ttl, { label, resend } = {}) => store.acquire(key, owner, ttl, { label, resend }),
    });
    const without: ConformanceOptions['without'] = [
      'inspect',
      'renewMany',
      'releaseToWaiter',
      'pause',
      'once',
      'stealAfter',
    ];
    expect(await failures(plain, { ...QUICK, without })).toEqual([]);
  });

  it('B90 the suite prepares and closes each store that it opens, also after a failure', async () => {
    const shared = new MemoryLockStore();
    const log = { prepared: 0, closed: 0 };
    const create = (): LockStore & StoreLifecycle => ({
      ...operationsOf(shared),
      renew: () => Promise.reject(new Error('broken')),
      prepare: async () => void log.prepared++,
      close: async () => void log.closed++,
    });
    const failed = await failures(create, QUICK);
    expect(failed.length).toBeGreaterThan(10);
    expect(log.prepared).toBeGreaterThan(80);
    expect(log.closed).toBe(log.prepared);
  });

  it('B90 the suite closes a store that could not be prepared', async () => {
    let closed = 0;
    const create = (): LockStore & StoreLifecycle => ({
      ...operationsOf(new MemoryLockStore()),
      prepare: () => Promise.reject(new Error('no such table')),
      close: async () => void closed++,
    });
    const cases = lockStoreConformance(create);
    const failed = await failures(create, QUICK);
    expect(failed.map(({ error }) => String(error))).toEqual(cases.map(() => 'Error: no such table'));
    expect(closed).toBe(cases.length);
  });

  it('B90 a case fails if its store cannot be closed, but an earlier failure of the case is reported first', async () => {
    const shared = new MemoryLockStore();
    const close = () => Promise.reject(new Error('cannot close'));
    const [first] = lockStoreConformance(() => ({ ...operationsOf(shared), close }));
    await expect(first?.run()).rejects.toThrow('cannot close');
    const acquire = () => Promise.reject(new Error('cannot acquire'));
    const [broken] = lockStoreConformance(() => ({ ...operationsOf(shared), acquire, close }));
    await expect(broken?.run()).rejects.toThrow('cannot acquire');
  });

  it('B90 no two cases of the suite have the same name', () => {
    const names = lockStoreConformance(() => new MemoryLockStore()).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});

function find(name: string, createStore: () => LockStore): ConformanceCase {
  const found = lockStoreConformance(createStore, { ...QUICK, patience: 500 }).find(
    (one) => one.name === name,
  );
  if (!found) throw new Error(`there is no case "${name}"`);
  return found;
}

interface Failure {
  name: string;
  error: unknown;
}

/** Runs all conformance cases at the same time on one store, and returns those that fail. */
async function failures(createStore: () => LockStore, options: ConformanceOptions): Promise<Failure[]> {
  const cases = lockStoreConformance(createStore, options);
  const ends = await Promise.allSettled(cases.map(({ run }) => run()));
  return ends.flatMap((end, index) =>
    end.status === 'rejected' ? [{ name: cases[index]?.name ?? '', error: end.reason }] : [],
  );
}
