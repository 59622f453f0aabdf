import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import type { Target } from '../servers/targets.js';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { Instances, type Instance } from './instances.js';

for (const { name, open } of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56')) {
  describe(`instances of an application on ${name}`, () => {
    const instances = new Instances();
    let target: Target;
    let first: Instance;
    let second: Instance;

    beforeAll(async () => {
      target = await open();
    });
    beforeAll(() => startBoth());
    afterEach(async () => {
      // Tests kill and freeze instances, so each test begins with two new ones.
      await instances.killAll();
      await startBoth();
    });
    afterAll(async () => {
      await instances.killAll();
      await target.dispose();
    });

    async function startBoth(): Promise<void> {
      [first, second] = await Promise.all([
        instances.start(target.options, 'first'),
        instances.start(target.options, 'second'),
      ]);
    }

    it('B22 a waiter in another process gets the lock after its release; a refused call gets an error that names the holder', async () => {
      const key = 'handed-over';
      const { fencingToken } = await first.ask<{ fencingToken: number }>('acquire', { key });
      await expect(second.ask('acquire', { key })).rejects.toThrow(
        'LockNotAcquiredError: Lock "handed-over" was not acquired',
      );
      await expect(second.ask('acquire', { key })).rejects.toThrow('held by first since');
      const waiting = second.ask<{ fencingToken: number }>('acquire', { key, wait: '20s' });
      expect(await first.ask('release', { key })).toBe(true);
      expect((await waiting).fencingToken).toBeGreaterThan(fencingToken);
    });

    it('B28 after a holder is killed, a waiter gets the lock with a greater token, and the killed run counts as failed', async () => {
      const key = 'killed';
      const { fencingToken } = await first.ask<{ fencingToken: number }>('acquire', { key });
      const waiting = second.ask<{ fencingToken: number }>('acquire', { key, wait: '20s' });
      await first.kill('SIGKILL');
      expect((await waiting).fencingToken).toBeGreaterThan(fencingToken);
      expect(await second.ask('inspect', { key })).toMatchObject({
        state: 'held',
        holder: { label: 'second' },
        lastRun: { label: 'first', outcome: 'failed' },
      });
    });

    it('B44 a holder that was frozen past its ttl has lost its lock and does not release the lock of its successor', async () => {
      const key = 'frozen';
      await first.ask('acquire', { key });
      const woken = first.ask<{ held: boolean }>('freeze', { key });
      await first.event('freezing', key);
      await second.ask('acquire', { key, wait: '20s' });
      first.wake();
      // As soon as the process goes on, before any of its timers runs, lock.held is false.
      expect(await woken).toEqual({ held: false });
      await first.event('lost', key);
      expect(await first.ask('release', { key })).toBe(false);
      expect(await second.ask('held', { key })).toBe(true);
      expect(await second.ask('inspect', { key })).toMatchObject({
        state: 'held',
        holder: { label: 'second' },
      });
    });

    it('B12 a holder that gets SIGTERM frees its lock and exits without being killed', async () => {
      const key = 'stopped';
      await first.ask('acquire', { key, ttl: '10m' });
      await first.kill('SIGTERM');
      expect(await second.ask('inspect', { key })).toMatchObject({
        state: 'free',
        lastRun: { label: 'first' },
      });
    });

    it('B12 after app.close(), the process exits, even if it held a lock', async () => {
      await first.ask('acquire', { key: 'closed', ttl: '10m' });
      // The request rejects, because the process exits instead of answering.
      void first.ask('close').catch(() => {});
      expect(await first.ended).toEqual({ code: 0, signal: null });
    });

    it('B40 if two instances increment a counter under the lock, no increment gets lost', async () => {
      const database = await new DataSource(target.options).initialize();
      await database.query('CREATE TABLE counter (value integer)');
      await database.query('INSERT INTO counter VALUES (0)');
      const third = await instances.start(target.options, 'third');
      const rounds = { key: 'counter', times: 15 };
      await Promise.all([first, second, third].map((instance) => instance.ask('count', rounds)));
      const [{ value }] = await database.query('SELECT value FROM counter');
      expect(Number(value)).toBe(45);
      await database.destroy();
    });
  });
}
