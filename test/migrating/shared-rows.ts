import { expect } from '@jest/globals';
import { hostname } from 'node:os';
import { LockError, type LockService } from '../../lib/index.js';
import { newKey } from '../stores/keys.js';
import { errorOf } from './deployment.js';

/** Returns two instances of an application. They do not exist before the test runs. */
type Instances = () => readonly [locks: LockService, others: LockService];
type Test = () => Promise<void>;

// Tests of rows that several guides share. Each test contains all names that occur in its
// rows.

/** The token of a key grows with each acquisition, whichever instance acquires the key. */
export const growingTokens =
  (services: Instances): Test =>
  async () => {
    const [locks, others] = services();
    const tokens: number[] = [];
    const key = newKey();
    for (const one of [locks, others, locks])
      await one.run(key, (lock) => void tokens.push(lock.fencingToken));
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b));
    expect(tokens).toHaveLength(3);
  };

/**
 * Two locks with the same label exclude each other, and no lock can be released by its label.
 */
export const labelsExclude =
  (services: Instances): Test =>
  async () => {
    const [locks, others] = services();
    const options = { label: 'worker' };
    const lock = await locks.acquire(newKey(), options);
    expect(await locks.tryAcquire(lock.key, options)).toBeNull();
    expect(await others.tryAcquire(lock.key, options)).toBeNull();
    expect(await others.release(lock.key, 'worker')).toBe(false);
    expect(lock.owner).not.toContain('worker');
    expect(lock.held).toBe(true);
  };

/**
 * The holder is shown with the label of its call, or with its host and process if the call has
 * no label.
 */
export const labelOfHolder =
  (services: Instances): Test =>
  async () => {
    const [locks, others] = services();
    const key = newKey();
    const lock = await locks.acquire(key, { label: 'api-7' });
    expect(await others.admin.inspect(key)).toMatchObject({ holder: { label: 'api-7' } });
    await lock.release();
    const next = await locks.acquire(key);
    const label = `${hostname()}:${process.pid}`;
    expect(await others.admin.inspect(key)).toMatchObject({ holder: { label } });
    expect(next.owner).not.toBe(lock.owner);
  };

/** run() and `await using` hold the lock during their scope. */
export const scopes =
  (services: Instances): Test =>
  async () => {
    const [locks, others] = services();
    const key = newKey();
    const work = async () => others.admin.isLocked(key);
    expect(await locks.run(key, work)).toBe(true);
    {
      await using lock = await locks.acquire(key);
      expect([lock.held, await work()]).toEqual([true, true]);
    }
    const failed = locks.run(key, () => Promise.reject(new Error('the work failed')));
    await expect(failed).rejects.toThrow('the work failed');
    expect(await work()).toBe(false);
  };

/** A key of 4 KiB is kept whole, and a longer key is refused. */
export const longKeys =
  (services: Instances): Test =>
  async () => {
    const [locks, others] = services();
    const long = newKey().padEnd(4096, 'x');
    await locks.acquire(long);
    expect(await others.tryAcquire(long)).toBeNull();
    expect(await others.tryAcquire(`${long.slice(0, -1)}y`)).not.toBeNull();
    expect(await errorOf(locks.acquire(`${long}x`))).toBeInstanceOf(LockError);
  };
