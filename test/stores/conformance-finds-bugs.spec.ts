import { describe, expect, it } from '@jest/globals';
import type { LockStore, StoreLifecycle } from '../../lib/interfaces/lock-store.interface.js';
import { MemoryLockStore } from '../../lib/stores/memory/memory-lock.store.js';
import {
  lockStoreConformance,
  type ConformanceCase,
  type ConformanceOptions,
} from '../../lib/testing/lock-store-conformance.js';
import { plantedBugs, RightStore, type Port } from './conformance-planted-bugs.js';

const QUICK: ConformanceOptions = { ttl: 60, rounds: 3, racers: 8 };

describe('the conformance suite finds planted bugs', () => {
  it('and nothing in the store in which they are planted', async () => {
    const right = new RightStore();
    expect(await failures(() => storeOf(right), QUICK)).toEqual([]);
  });

  it.each(plantedBugs)('$name → $foundBy', async ({ plant, foundBy }) => {
    const right = new RightStore();
    const broken = { ...storeOf(right), ...plant(right) };
    await expect(find(foundBy, () => broken).run()).rejects.toThrow();
  });

  it('tokens are counted by each instance → B38 tokens grow over releases, in all instances', async () => {
    const right = new RightStore();
    const instance = (): LockStore => {
      let token = 0;
      return {
        ...storeOf(right),
        async acquire(...args) {
          const result = await right.acquire(...args);
          return result.acquired ? { acquired: true, fencingToken: ++token } : result;
        },
      };
    };
    await expect(find('B38 tokens grow over releases, in all instances', instance).run()).rejects.toThrow();
  });

  it('each case finds at least one', () => {
    const found = new Set(plantedBugs.map(({ foundBy }) => foundBy));
    const cases = lockStoreConformance(() => new MemoryLockStore()).map(({ name }) => name);
    expect(cases.filter((name) => !found.has(name))).toEqual([]);
  });
});

describe('lockStoreConformance', () => {
  const core = (store: LockStore): LockStore => ({
    acquire: store.acquire.bind(store),
    renew: store.renew.bind(store),
    release: store.release.bind(store),
  });

  it('fails for a store without the extras, and says how to leave them out', async () => {
    const store = new MemoryLockStore();
    const missing = await failures(() => core(store), QUICK);
    expect(missing.length).toBeGreaterThan(20);
    for (const { error } of missing)
      expect(String(error)).toMatch(/without: \["(inspect|renewMany|releaseToWaiter|pause)"\]/);
  });

  it('passes the three operations alone when the extras are left out', async () => {
    const store = new MemoryLockStore();
    const without: ConformanceOptions['without'] = ['inspect', 'renewMany', 'releaseToWaiter', 'pause'];
    expect(await failures(() => core(store), { ...QUICK, without })).toEqual([]);
  });

  it('passes a store that knows nothing but key, owner and ttl when all the rest is left out', async () => {
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

  it('prepares each store it opens and closes it, also after a failure', async () => {
    const shared = new MemoryLockStore();
    const log = { prepared: 0, closed: 0 };
    const create = (): LockStore & StoreLifecycle => ({
      ...storeOf(shared),
      renew: () => Promise.reject(new Error('broken')),
      prepare: async () => void log.prepared++,
      close: async () => void log.closed++,
    });
    const failed = await failures(create, QUICK);
    expect(failed.length).toBeGreaterThan(10);
    expect(log.prepared).toBeGreaterThan(80);
    expect(log.closed).toBe(log.prepared);
  });

  it('closes a store that could not be prepared', async () => {
    let closed = 0;
    const create = (): LockStore & StoreLifecycle => ({
      ...storeOf(new MemoryLockStore()),
      prepare: () => Promise.reject(new Error('no such table')),
      close: async () => void closed++,
    });
    const cases = lockStoreConformance(create);
    const failed = await failures(create, QUICK);
    expect(failed.map(({ error }) => String(error))).toEqual(cases.map(() => 'Error: no such table'));
    expect(closed).toBe(cases.length);
  });

  it('fails when a store cannot be closed, but shows first what the case found', async () => {
    const shared = new MemoryLockStore();
    const close = () => Promise.reject(new Error('cannot close'));
    const [first] = lockStoreConformance(() => ({ ...storeOf(shared), close }));
    await expect(first?.run()).rejects.toThrow('cannot close');
    const acquire = () => Promise.reject(new Error('cannot acquire'));
    const [broken] = lockStoreConformance(() => ({ ...storeOf(shared), acquire, close }));
    await expect(broken?.run()).rejects.toThrow('cannot acquire');
  });

  it('names each case once', () => {
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

/** Runs all cases side by side; they share nothing but the store. */
async function failures(createStore: () => LockStore, options: ConformanceOptions): Promise<Failure[]> {
  const cases = lockStoreConformance(createStore, options);
  const ends = await Promise.allSettled(cases.map(({ run }) => run()));
  return ends.flatMap((end, index) =>
    end.status === 'rejected' ? [{ name: cases[index]?.name ?? '', error: end.reason }] : [],
  );
}

function storeOf(store: MemoryLockStore): Port {
  return {
    acquire: store.acquire.bind(store),
    renew: store.renew.bind(store),
    release: store.release.bind(store),
    releaseToWaiter: store.releaseToWaiter.bind(store),
    renewMany: store.renewMany.bind(store),
    inspect: store.inspect.bind(store),
    list: store.list.bind(store),
    forceRelease: store.forceRelease.bind(store),
    purge: store.purge.bind(store),
    pause: store.pause.bind(store),
    resume: store.resume.bind(store),
  };
}
