import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { systemClock, type Clock } from '../../../lib/engine/clock.js';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmLockStore, type TypeOrmLockStoreOptions } from '../../../lib/stores/typeorm/index.js';
import { Instances } from '../../processes/instances.js';
import { newKey } from '../keys.js';
import { targetsAmong } from './fixture.js';
import { WakeUps } from './wake-ups-fixture.js';

/**
 * Returns a clock like the machine's, but without the safety poll (1 s, give or take a
 * quarter): a lost notification would never be made up for.
 */
function withoutSafetyPoll(): Clock {
  const clock = systemClock();
  return {
    ...clock,
    after: (ms, callback, ref) =>
      ms > 700 && ms < 1_300 ? { cancel: () => undefined } : clock.after(ms, callback, ref),
  };
}

for (const target of targetsAmong('postgres'))
  describe('waiting processes on PostgreSQL', () => {
    const instances = new Instances();
    const services: LockService[] = [];
    let database: WakeUps;
    beforeAll(async () => {
      Logger.overrideLogger(false);
      database = await WakeUps.open(target);
    });
    afterEach(async () => {
      await Promise.all(services.splice(0).map((service) => service[INTERNALS].close()));
      await instances.killAll();
    });
    afterAll(() => database.dispose());

    const start = async (clock?: Clock, options: TypeOrmLockStoreOptions = {}, poolSize = 2) => {
      const application = await database.fixture.dataSource({ poolSize });
      const openStore = () => new TypeOrmLockStore(application, options);
      const service = new LockService({ options: { wait: Infinity }, openStore, clock });
      await service[INTERNALS].start();
      services.push(service);
      return service;
    };
    const inLine = async (key: string, count: number): Promise<void> => {
      while ((await database.line(key)).length < count);
    };

    /**
     * Lets callers of each service run sections under the locks of all these keys, and returns
     * the number of sections. They begin when the queue of each key has this many processes.
     */
    const contend = async (
      keys: string[],
      { callers, sections, called }: { callers: number; sections: number; called: number },
    ): Promise<number> => {
      const [holder] = services as [LockService];
      const gates = await Promise.all(keys.map((key) => holder.acquire(key)));
      let through = 0;
      const inside = new Map<string, number>();
      const goThrough = async (service: LockService, key: string): Promise<void> => {
        for (let section = 0; section < sections; section++)
          await service.run(key, async (lock) => {
            inside.set(key, (inside.get(key) ?? 0) + 1);
            expect(inside.get(key)).toBe(1);
            if (section % 3 > 0) await new Promise((resolve) => setImmediate(resolve));
            expect(lock.held).toBe(true);
            inside.set(key, 0);
            through++;
          });
      };
      const contending = services.flatMap((service) =>
        keys.flatMap((key) => Array.from({ length: callers }, () => goThrough(service, key))),
      );
      for (const key of keys) await inLine(key, called);
      for (const gate of gates) await gate.release();
      await Promise.all(contending);
      return through;
    };

    it('B17 all callers get the lock, one at a time, without the safety poll', async () => {
      for (let i = 0; i < 4; i++) await start(withoutSafetyPoll());
      expect(await contend([newKey()], { callers: 5, sections: 15, called: 3 })).toBe(4 * 5 * 15);
      expect(await contend([newKey(), newKey(), newKey()], { callers: 1, sections: 15, called: 3 })).toBe(
        4 * 3 * 15,
      );
      expect(await database.listeners()).toHaveLength(4);
    }, 60_000);

    it('B17 all callers get the lock with pools of one connection', async () => {
      for (let i = 0; i < 3; i++) await start(withoutSafetyPoll(), {}, 1);
      expect(await contend([newKey(), newKey()], { callers: 3, sections: 10, called: 2 })).toBe(
        3 * 2 * 3 * 10,
      );
    }, 60_000);

    it('B21 all callers get the lock although other waiters abort', async () => {
      for (let i = 0; i < 3; i++) await start(withoutSafetyPoll());
      const [first] = services;
      const key = newKey();
      const over = new AbortController();
      const impatient = services.map(async (service) => {
        for (let gaveUp = 0; !over.signal.aborted;) {
          const giveUp = new AbortController();
          const attempt = service.run(key, () => undefined, { signal: giveUp.signal });
          for (let n = 0; n < gaveUp % 5; n++) await first?.admin.inspect(key);
          giveUp.abort();
          await attempt.catch(() => gaveUp++);
        }
      });
      expect(await contend([key], { callers: 3, sections: 15, called: 2 })).toBe(3 * 3 * 15);
      over.abort();
      await Promise.all(impatient);
      await first?.run(key, () => undefined);
    }, 60_000);

    it('B17 all callers get the lock when only half of the instances use wakeUps', async () => {
      await start(withoutSafetyPoll());
      await start(withoutSafetyPoll());
      await start(withoutSafetyPoll(), { wakeUps: false });
      await start(withoutSafetyPoll(), { wakeUps: false });
      expect(await contend([newKey()], { callers: 2, sections: 8, called: 1 })).toBe(4 * 2 * 8);
    }, 60_000);

    it('B17 with wakeUps: false no process queues or listens', async () => {
      await start(undefined, { wakeUps: false });
      await start(undefined, { wakeUps: false });
      const key = newKey();
      expect(await contend([key], { callers: 2, sections: 5, called: 0 })).toBe(2 * 2 * 5);
      expect(await database.line(key)).toEqual([]);
      expect(await database.listeners()).toEqual([]);
    });

    it('B41 waiters poll for a key that is too long for a notification', async () => {
      await start();
      await start();
      expect(await contend([`${newKey()}:${'x'.repeat(300)}`], { callers: 2, sections: 5, called: 0 })).toBe(
        2 * 2 * 5,
      );
    });

    it('B28 a notification to a killed process is lost, and the next process polls', async () => {
      const [holder, waiter] = [await start(), await start()];
      const instance = await instances.start(database.fixture.target.options, 'killed');
      const key = newKey();
      const lock = await holder.acquire(key);
      const lost = instance.ask('acquire', { key, wait: '1h' });
      lost.catch(() => undefined);
      await inLine(key, 1);
      const waiting = waiter.acquire(key);
      await inLine(key, 2);
      await instance.kill('SIGKILL');
      await lock.release();
      expect((await waiting).held).toBe(true);
    });

    it('B28 a notification to a frozen process is lost, and the next process polls', async () => {
      const [holder, waiter] = [await start(), await start()];
      const instance = await instances.start(database.fixture.target.options, 'frozen');
      const key = newKey();
      const lock = await holder.acquire(key);
      instance.ask('acquire', { key, wait: '1h' }).catch(() => undefined);
      await inLine(key, 1);
      const waiting = waiter.acquire(key);
      await inLine(key, 2);
      instance.ask('freeze', { key }).catch(() => undefined);
      await instance.event('freezing', key);
      await lock.release();
      expect(await database.line(key)).toHaveLength(1);
      expect((await waiting).held).toBe(true);
      await instance.kill('SIGKILL');
    });

    it('B28 waiters get the lock when the lease of a killed holder ends', async () => {
      const [first, second] = [await start(), await start()];
      const instance = await instances.start(database.fixture.target.options, 'holder');
      const key = newKey();
      // The child process acquires the key with a ttl of 1 s.
      await instance.ask('acquire', { key });
      const waiting = [first.acquire(key), second.acquire(key)];
      await inLine(key, 2);
      await instance.kill('SIGKILL');
      await (await Promise.race(waiting)).release();
      for (const lock of await Promise.all(waiting)) await lock.release();
    });
  });
