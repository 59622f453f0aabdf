import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { TypeOrmLockStore, typeOrmStore } from '../../../lib/stores/typeorm/index.js';
import { LONGEST_BURST } from '../../../lib/stores/sql/postgres/notification-rate.js';
import { newKey, tokenOf } from '../keys.js';
import { TcpProxy } from '../tcp-proxy.js';
import { ISOLATION_LEVELS, recordStatements, targetsAmong } from './fixture.js';
import { TTL, WakeUps, type Waiter } from './wake-ups-fixture.js';

for (const target of targetsAmong('postgres')) {
  describe.each([
    ['the driver', { weak: false }],
    ['TypeORM', { weak: true }],
  ] as const)('waiting processes on PostgreSQL, over %s, with %j', (client, options) => {
    let database: WakeUps;
    let a: Waiter;
    let b: Waiter;
    let c: Waiter;
    let d: Waiter;
    beforeAll(async () => {
      database = await WakeUps.open(target, options, client);
      [a, b, c, d] = await Promise.all([
        database.waiter('a'),
        database.waiter('b'),
        database.waiter('c'),
        database.waiter('d'),
      ]);
    });
    afterEach(() => {
      for (const waiter of [a, b, c, d]) {
        waiter.calls.length = 0;
        waiter.unwanted.clear();
      }
    });
    afterAll(() => database.dispose());

    /**
     * Lets the first process acquire a key and the other processes queue for it, one after the
     * other.
     */
    const held = async (holder: Waiter, ...waiting: Waiter[]): Promise<string> => {
      const key = newKey();
      tokenOf(await holder.acquire(key));
      for (const waiter of waiting) await waiter.queue(key);
      expect(await database.line(key)).toHaveLength(waiting.length);
      return key;
    };
    /** Waits for a notification, then acquires the key and releases it. */
    const turn = async (waiter: Waiter, key: string, waiting = false): Promise<void> => {
      await waiter.called(key);
      tokenOf(await waiter.acquire(key));
      expect(await waiter.release(key, waiting)).toBe(true);
    };

    it('B17 a waiting process sees the holder of the key, and is notified of its release', async () => {
      const key = await held(a);
      expect(await b.queue(key)).toMatchObject({ reason: 'held', queued: true, holder: { key } });
      expect(await a.release(key)).toBe(true);
      await b.called(key);
      expect(await database.line(key)).toEqual([]);
      tokenOf(await b.acquire(key));
      expect(await b.release(key)).toBe(true);
    });

    it('B17 each module that uses the store is notified of a release', async () => {
      const [key, told] = [newKey(), [] as (string | undefined)[]];
      // This listener answers that its module does not wait for the key.
      b.store.onReleased((free) => told.push(free) < 0);
      tokenOf(await a.acquire(key));
      await b.queue(key);
      expect(await a.release(key)).toBe(true);
      await b.called(key);
      expect(told).toEqual([key]);
      tokenOf(await b.acquire(key));
      expect(await b.release(key)).toBe(true);
    });

    it('B15 a queued process writes nothing when it polls again', async () => {
      const key = await held(a, b);
      const version = async () => (await database.version(key)) as unknown;
      const before = await version();
      await b.queue(key);
      expect(await version()).toEqual(before);
      expect(await a.release(key)).toBe(true);
      await b.called(key);
    });

    it('B23 processes are notified once each, in the order of their arrival', async () => {
      const key = await held(a, b, c, d);
      // Each process polls again, and keeps its place in the queue.
      for (const waiter of [b, c, d, b, c]) await waiter.queue(key);
      expect(await database.line(key)).toHaveLength(3);
      await a.release(key);
      const others: Waiter[][] = [[c, d], [d], []];
      for (const [i, waiter] of [b, c, d].entries()) {
        await waiter.called(key);
        tokenOf(await waiter.acquire(key));
        await database.delivered(b, c, d);
        for (const other of others[i] ?? []) expect(other.calls).toEqual([]);
        expect(await waiter.release(key)).toBe(true);
      }
      await database.delivered(b, c, d);
      for (const waiter of [b, c, d]) expect(waiter.calls).toEqual([]);
      expect(await database.line(key)).toEqual([]);
    });

    it('B23 a process that releases the key while it waits goes to the end of the queue', async () => {
      const key = await held(a, b, c);
      await a.queue(key); // The process is now in the queue of a key that it holds itself.
      expect(await a.release(key, true)).toBe(true);
      expect(await database.line(key)).toHaveLength(2);
      await turn(b, key, true);
      await turn(c, key);
      await turn(a, key);
      await turn(b, key);
      expect(await database.line(key)).toEqual([]);
    });

    it('B15 a process that has got the lock through a notification releases it and notifies the next process in one statement', async () => {
      const e = await database.waiter('e');
      const key = await held(a, e, b);
      expect(await a.release(key)).toBe(true);
      await e.called(key);
      tokenOf(await e.acquire(key));
      const statements = recordStatements(e.dataSource, client);
      expect(await e.release(key)).toBe(true);
      expect(statements).toHaveLength(1);
      await turn(b, key);
    });

    it('B23 a process that releases a key for which no other process waits polls at once', async () => {
      const key = await held(b, b);
      expect(await b.store.release(key, b.owner, { waiting: true })).toBe(true);
      expect(b.calls).toEqual([key]);
      expect(await database.line(key)).toEqual([]);
      tokenOf(await b.acquire(key));
      expect(await b.release(key)).toBe(true);
    });

    it('B23 a notified process that finds the key taken is the first in the queue again', async () => {
      const key = await held(a, b, c);
      await a.release(key);
      await b.called(key);
      const behind = await database.line(key);
      expect(await b.store.release(key, 'an earlier owner')).toBe(false);
      tokenOf(await d.acquire(key));
      await b.queue(key);
      expect((await database.line(key)).slice(1)).toEqual(behind);
      expect(await d.release(key)).toBe(true);
      await turn(b, key);
      await turn(c, key);
    });

    it('B23 a notified process that has no waiter left notifies the next process', async () => {
      const key = await held(a, b, c, d);
      b.unwanted.add(key);
      c.unwanted.add(key);
      await a.release(key);
      await b.called(key);
      await c.called(key);
      await turn(d, key);
      expect(await database.line(key)).toEqual([]);
    });

    it('B23 no further process is notified of a key that has been granted to another process', async () => {
      const e = await database.waiter('e', { poolSize: 1 });
      const key = await held(a, e, c);
      const [channel] = await database.line(key);
      e.unwanted.add(key);
      await database.admin.query('SELECT pg_notify($1, $2)', [channel, key]);
      await e.called(key);
      // This request uses the only connection of the process, so it runs after the process has
      // sent its own notifications.
      await e.store.inspect(key);
      await database.delivered(c, e);
      expect(c.calls).toEqual([]);
      expect(await database.line(key)).toHaveLength(2);
      await e.store.close();
    });

    it('B71 a forced release notifies waiting processes, even if it comes from one of these processes', async () => {
      const key = await held(a, b, c);
      expect(await d.store.forceRelease(key)).toBe(true);
      await b.called(key);
      tokenOf(await b.acquire(key));
      expect(await c.store.forceRelease(key)).toBe(true);
      expect(c.calls).toEqual([key]);
      expect(await database.line(key)).toEqual([]);
      expect(await c.store.forceRelease(key)).toBe(false);
    });

    it('B76 waiting processes are not notified of the release of a kept key, and see how long the key is kept', async () => {
      const key = await held(a, b);
      expect(await a.store.release(key, a.owner, { keepFor: TTL })).toBe(true);
      await database.delivered(b);
      expect(b.calls).toEqual([]);
      const answer = await b.queue(key);
      expect(answer.holder?.remaining).toBeGreaterThan(0);
      expect(await database.line(key)).toHaveLength(1);
      // The forced release frees a kept key, which has no holder.
      expect(await d.store.forceRelease(key)).toBe(true);
      await turn(b, key);
    });

    it('B28 a holder that lost the key notifies no process, and waiters poll when its lease ends', async () => {
      const key = newKey();
      tokenOf(await a.store.acquire(key, 'dead', 1_000));
      const answer = await b.queue(key);
      expect(answer.holder?.remaining).toBeLessThanOrEqual(1_000);
      while ((await b.store.inspect(key)).state === 'held');
      expect(await a.store.release(key, 'dead')).toBe(false);
      await database.delivered(b);
      expect(b.calls).toEqual([]);
      // Another process acquires the key without having waited for it.
      tokenOf(await c.acquire(key));
      expect(await a.store.release(key, 'dead')).toBe(false);
      expect(await a.store.renew(key, 'dead', TTL)).toBe(false);
      expect(b.calls).toEqual([]);
      expect(await c.release(key)).toBe(true);
      await turn(b, key);
    });

    it('B41 processes poll for a key that is too long for its column, since the table contains another name for it', async () => {
      const long = `${newKey()}:${'x'.repeat(300)}`;
      // After this wait for another key, the process listens for notifications.
      await b.queue(await held(a));
      tokenOf(await a.acquire(long));
      for (let asked = 0; asked < 3; asked++) {
        const answer = await b.acquire(long);
        expect(answer).toMatchObject({ acquired: false, reason: 'held' });
        expect(answer).not.toHaveProperty('queued');
      }
      expect(await a.release(long, true)).toBe(true);
      tokenOf(await b.acquire(long));
      expect(await b.release(long)).toBe(true);
    });

    it('B16 a process that makes a single attempt is not queued', async () => {
      const key = await held(a);
      // After this wait for another key, the process listens for notifications.
      await b.queue(await held(a));
      const answer = await b.store.acquire(key, 'once', TTL);
      expect(answer).toMatchObject({ acquired: false, reason: 'held' });
      expect(answer).not.toHaveProperty('queued');
      expect(await database.line(key)).toEqual([]);
    });

    it('B73 a process is not queued for a paused key', async () => {
      const key = await held(a, b);
      expect(await a.store.pause(key)).toBe(true);
      expect(await c.acquire(key)).toEqual({ acquired: false, reason: 'paused' });
      expect(await database.line(key)).toHaveLength(1);
      expect(await a.release(key)).toBe(true);
      await b.called(key);
      expect(await b.acquire(key)).toEqual({ acquired: false, reason: 'paused' });
    });

    it('B23 queued processes keep their places after a release to a waiter and after a theft', async () => {
      const key = await held(a, b);
      tokenOf(await a.store.releaseToWaiter(key, a.owner, { owner: 'heir', ttl: TTL }));
      while (!(await c.store.acquire(key, c.owner, TTL, { stealAfter: 1 })).acquired);
      expect(await database.line(key)).toHaveLength(1);
      expect(await c.release(key)).toBe(true);
      await turn(b, key);
    });

    it('B17 at most a hundred processes are queued, so that the row stays small', async () => {
      const key = await held(a);
      await database.admin.query(
        `UPDATE ${database.table} SET waiting = (SELECT array_agg('nobody' || n) FROM generate_series(1, 100) AS n) WHERE key = $1`,
        [key],
      );
      expect(b.listening).toBe(true);
      expect((await b.acquire(key)) as object).not.toHaveProperty('queued');
      expect(await database.line(key)).toHaveLength(100);
      expect(await a.release(key)).toBe(true);
      expect(await database.line(key)).toHaveLength(99);
      tokenOf(await b.acquire(key));
    });

    it('B17 processes poll while notifications are too frequent, and the store warns', async () => {
      const often = await database.waiter('often');
      const warnings: string[] = [];
      often.store.onWarning((topic) => warnings.push(topic));
      const [channel] = await database.line(await held(a, often));
      await database.admin.query(`SELECT pg_notify($1, 'key ' || n) FROM generate_series(1, $2::int) AS n`, [
        channel,
        2 * LONGEST_BURST,
      ]);
      await often.called(`key ${2 * LONGEST_BURST}`);
      const key = await held(a);
      const refusal = await often.acquire(key);
      expect(refusal).toMatchObject({ acquired: false, reason: 'held' });
      expect(refusal).not.toHaveProperty('queued');
      expect(await database.line(key)).toEqual([]);
      expect(warnings).toContain('notifications');
      expect(await a.release(key)).toBe(true);
      tokenOf(await often.acquire(key));
    });

    it('B27 a repeated release notifies the next process even if the answer to the first release was lost', async () => {
      const proxy = await TcpProxy.open(database.fixture.target.options as { host: string; port: number });
      const cut = await database.waiter(`cut-${newKey()}`, { host: '127.0.0.1', port: proxy.port });
      const key = await held(cut, cut);
      proxy.cutAfter(cut.owner);
      await expect(cut.release(key, true)).rejects.toMatchObject({ transient: true });
      cut.calls.length = 0;
      // The server had carried out the release, although its answer was lost.
      expect(await cut.store.release(key, cut.owner, { waiting: true })).toBe(false);
      expect(cut.calls).toContain(key);
      await cut.store.close();
      await proxy.close();
    });
  });

  describe.each(ISOLATION_LEVELS)('races for a place in the queue, at %s', (level) => {
    let database: WakeUps;
    let waiters: Waiter[];
    /** The channel on which the process b is notified. */
    let channel: string;
    beforeAll(async () => {
      database = await WakeUps.open(target);
      waiters = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => database.waiter(name, { level })));
      const key = newKey();
      tokenOf(await database.fixture.store().then((store) => store.acquire(key, 'holder', TTL)));
      for (const waiter of waiters) await waiter.queue(key);
      channel = (await database.line(key))[1] ?? '';
    });
    afterAll(() => database.dispose());

    const ROUNDS = level === 'READ COMMITTED' ? 150 : 30;
    const AT_ONCE = 10;

    it(`B17 a process that queues while the key is released is notified of the release (${ROUNDS * AT_ONCE} times)`, async () => {
      const [a, b] = waiters as [Waiter, Waiter];
      const seen = { granted: 0, refused: 0, called: 0 };
      for (let round = 0; round < ROUNDS; round++) {
        const keys = Array.from({ length: AT_ONCE }, newKey);
        for (const key of keys) tokenOf(await a.acquire(key));
        const free = async (key: string, i: number) => {
          // Delays the release by a different time in each case, so that it meets different
          // statements of b.
          for (let n = 0; n < i % 5; n++) await a.store.inspect(key);
          return i % 3 === 0 ? a.store.forceRelease(key) : a.release(key, i % 2 === 0);
        };
        const answers = await Promise.all(
          keys.map(async (key, i) => {
            const [freed, answer] = await Promise.all([free(key, i), b.acquire(key)]);
            expect(freed).toBe(true);
            return { key, answer };
          }),
        );
        await database.delivered(a, b);
        for (const { key, answer } of answers) {
          const called = !answer.acquired && answer.queued === true;
          seen[answer.acquired ? 'granted' : called ? 'called' : 'refused']++;
          expect({ key, called: b.calls.includes(key) }).toEqual({ key, called });
        }
        expect(await database.queuedFor(keys, channel)).toEqual([]);
        b.calls.length = 0;
      }
      // At least one process was notified; otherwise the test would have shown nothing.
      expect(seen.called).toBeGreaterThan(0);
      expect(seen.granted + seen.refused).toBeGreaterThan(0);
    });

    it(`B17 all processes that keep waiting get the lock, even if other processes stop waiting (${ROUNDS} keys)`, async () => {
      const patience = (i: number, waiter: Waiter) => (i + waiters.indexOf(waiter)) % 7 > 0;
      const getThrough = async (waiter: Waiter, key: string, patient: boolean): Promise<void> => {
        for (;;) {
          const answer = await waiter.acquire(key);
          if (answer.acquired) {
            if (patient) waiter.unwanted.add(key);
            expect(await waiter.release(key)).toBe(true);
            return;
          }
          if (!answer.queued) continue;
          if (patient) await waiter.called(key);
          else if (!waiter.calls.includes(key)) return void waiter.unwanted.add(key);
        }
      };
      for (let round = 0; round < ROUNDS; round += AT_ONCE) {
        const keys = Array.from({ length: AT_ONCE }, newKey);
        await Promise.all(
          keys.flatMap((key, i) => waiters.map((waiter) => getThrough(waiter, key, patience(i, waiter)))),
        );
      }
    }, 60_000);
  });

  describe('the option wakeUps', () => {
    it('B8 a wrong value of wakeUps is refused', () => {
      for (const wakeUps of ['true', 1, null, {}] as any[]) {
        expect(() => typeOrmStore({ wakeUps })).toThrow(/wakeUps must be true or false/);
        expect(
          () => new TypeOrmLockStore({ createQueryRunner: () => undefined } as any, { wakeUps }),
        ).toThrow(/wakeUps must be true or false/);
      }
      expect(typeOrmStore({ wakeUps: false }).inject).toHaveLength(1);
    });
  });
}
