import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { once } from 'node:events';
import { LockError, LockLostError, LockNotAcquiredError } from '../../../lib/lock.errors.js';
import { LockService } from '../../../lib/lock.service.js';
import {
  TypeOrmSessionLockStore,
  type TypeOrmSessionLockStoreOptions,
} from '../../../lib/stores/typeorm/index.js';
import { newKey } from '../keys.js';
import { SessionFixture, sessionTargets } from './fixture.js';

/**
 * In milliseconds: the store gives up after 5 s when the server does not end a session, so a
 * faster test shows that the session has ended.
 */
const SHORTER_THAN_ENDING = 4_500;

for (const target of sessionTargets())
  describe(`LockService on session locks of ${target.name}`, () => {
    let fixture: SessionFixture;
    let locks: LockService;
    let others: LockService;
    const services: LockService[] = [];

    async function service(
      store: TypeOrmSessionLockStoreOptions = {},
      options: ConstructorParameters<typeof LockService>[0]['options'] = {},
    ): Promise<LockService> {
      const openStore = () => new TypeOrmSessionLockStore(fixture.application, store);
      const made = new LockService({ options, openStore });
      services.push(made);
      await made[INTERNALS].start();
      return made;
    }

    beforeAll(async () => {
      Logger.overrideLogger(false);
      fixture = await SessionFixture.open(target);
    });
    beforeEach(async () => {
      locks = await service();
      others = await service();
    });
    afterEach(async () => {
      for (const one of services.splice(0)) await one[INTERNALS].close();
    });
    afterAll(() => fixture.dispose());

    it('B89 a wait for a key that the call chain holds fails at once, without using a session', async () => {
      const key = newKey();
      const error = await locks.run(key, async () =>
        locks.acquire(key, { wait: Infinity }).catch((refusal: unknown) => refusal),
      );
      expect(error).toBeInstanceOf(LockError);
      expect(error).toMatchObject({ message: expect.stringContaining('reentrant: true') });
      expect(await locks.run(key, () => locks.tryAcquire(key))).toBeNull();
      expect(await locks.run(key, () => locks.run(key, () => 'inner', { reentrant: true }))).toBe('inner');
      await (await others.acquire(key)).release();
    });

    it('B29 a session lock has no expiry, and can be released', async () => {
      const lock = await locks.acquire(newKey());
      expect(lock).toMatchObject({ held: true, expiresAt: null });
      expect(lock.fencingToken).toBeGreaterThan(1.7e15);
      expect(await others.tryAcquire(lock.key)).toBeNull();
      expect(await lock.release()).toBe(true);
      expect((await others.tryAcquire(lock.key))?.fencingToken).toBeGreaterThan(lock.fencingToken);
    });

    it('B57 a holder whose session is killed learns of it at once, and a waiter gets the lock', async () => {
      const key = newKey();
      const lost: LockLostError[] = [];
      const lock = await locks.acquire(key, { onLost: (_, error) => lost.push(error) });
      const waiting = others.acquire(key, { wait: Infinity });
      await fixture.waiting(key);
      const event = once(locks.events, 'lost');
      await fixture.kill(await fixture.holder(key));
      await event;
      expect(lock.held).toBe(false);
      expect(lock.signal.reason).toBeInstanceOf(LockLostError);
      expect(lost).toEqual([lock.loss]);
      expect(lock.loss?.message).toMatch(/was lost: its connection ended: .*(terminat|closed)/);
      const next = await waiting;
      expect(next.held).toBe(true);
      expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
      expect(await lock.release()).toBe(false);
      expect(next.held).toBe(true);
      // The store opens another connection for this lock.
      expect((await locks.acquire(newKey())).held).toBe(true);
    });

    it('B56 a run whose session was killed rejects when its work has ended', async () => {
      const work = locks.run(newKey(), async ({ key, signal }) => {
        const aborted = once(signal, 'abort');
        await fixture.kill(await fixture.holder(key));
        await aborted;
        return 'done';
      });
      await expect(work).rejects.toThrow(LockLostError);
    });

    it('B57 extend() asks the server whether the lock is still held, and refuses a ttl', async () => {
      const lock = await locks.acquire(newKey());
      await lock.extend();
      expect(lock.held).toBe(true);
      await expect(lock.extend('1m')).rejects.toThrow(/session locks last as long as their connection/);
      await fixture.kill(await fixture.holder(lock.key));
      await expect(lock.extend()).rejects.toThrow(LockLostError);
    });

    it('B57 transaction() and guard() are refused, because they need leases', async () => {
      const lock = await locks.acquire(newKey());
      await expect(lock.transaction(async () => 1)).rejects.toThrow(
        /no transactions that a lock could be tied to/,
      );
      await expect(lock.guard({})).rejects.toThrow(LockError);
    });

    it('B57 options that need leases are refused on a call, on a decorator and on the module', async () => {
      for (const options of [{ ttl: '1m' }, { autoRenew: false }, { renewEvery: '1s' }] as const) {
        const [name] = Object.keys(options);
        const message = new RegExp(`option "${name}" of .* session locks last as long as their connection`);
        await expect(locks.acquire(newKey(), options)).rejects.toThrow(message);
        await expect(service({}, options)).rejects.toThrow(message);
      }
      const store = new TypeOrmSessionLockStore(fixture.application);
      const unopened = new LockService({ options: {}, openStore: () => store });
      unopened[INTERNALS].settingsFor('@Locked() on Billing.export', { ttl: '1m' });
      await expect(unopened[INTERNALS].start()).rejects.toThrow(
        /The option "ttl" of @Locked\(\) on Billing.export/,
      );
    });

    it('B18 waits of 0.3 s and of 1 s end at their deadlines', async () => {
      const { key } = await locks.acquire(newKey());
      for (const wait of [300, 1000]) {
        const error = await others.acquire(key, { wait }).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(LockNotAcquiredError);
        expect((error as LockNotAcquiredError).waited).toBeGreaterThanOrEqual(wait - 5);
      }
    });

    it('B20 callers of one process that wait without a limit share one waiting session, and all of them get the lock', async () => {
      const key = newKey();
      const lock = await locks.acquire(key);
      const callers = Array.from({ length: 10 }, () => others.run(key, () => 1, { wait: Infinity }));
      await fixture.waiting(key);
      // There are two sessions: the holder's, and a session that all waiters share.
      expect(await fixture.sessions()).toHaveLength(2);
      await lock.release();
      await Promise.all(callers);
    });

    it('B21 an aborted wait leaves neither a session nor a lock', async () => {
      const key = newKey();
      const lock = await locks.acquire(key);
      const abort = new AbortController();
      const waiting = others.acquire(key, { wait: Infinity, signal: abort.signal });
      const ended = expect(waiting).rejects.toThrow('not any more');
      await fixture.waiting(key);
      abort.abort(new Error('not any more'));
      await ended;
      await fixture.waiting(key, 0);
      // Only the session of the holder is left.
      while ((await fixture.sessions()).length !== 1);
      await lock.release();
      expect(await locks.tryAcquire(key)).not.toBeNull();
    });

    it('B12 a shutdown ends waits and releases held locks', async () => {
      const [key, kept] = [newKey(), newKey()];
      const lock = await locks.acquire(key);
      await locks.run(kept, () => 1, { minHold: '1h' });
      expect(await others.tryAcquire(kept)).toBeNull();
      const waiting = others.acquire(key, { wait: Infinity });
      const ended = expect(waiting).rejects.toThrow(/shutting down/);
      await fixture.waiting(key);
      await others[INTERNALS].close();
      await ended;
      await locks[INTERNALS].close();
      expect(lock.held).toBe(false);
      while ((await fixture.sessions()).length > 0);
      const after = await service();
      expect(await after.tryAcquire(key)).not.toBeNull();
      expect(await after.tryAcquire(kept)).not.toBeNull();
    });

    it('B71 a forced release frees the key, and its holder learns of it at once', async () => {
      const key = newKey();
      const lock = await locks.acquire(key);
      const lost = once(locks.events, 'lost');
      expect(await others.admin.forceRelease(key, { reason: 'test' })).toBe(true);
      await lost;
      expect(lock.held).toBe(false);
      expect(await others.admin.forceRelease(key, { reason: 'test' })).toBe(false);
      expect(await others.tryAcquire(key)).not.toBeNull();
    });

    it(
      'R9 a forced release ends as soon as the killed session has lost the key, even if a waiter gets it at once',
      async () => {
        const key = newKey();
        await locks.acquire(key);
        const third = await service();
        const waiting = third.acquire(key, { wait: Infinity });
        await fixture.waiting(key);
        expect(await others.admin.forceRelease(key, { reason: 'test' })).toBe(true);
        const lock = await waiting;
        expect(lock.held).toBe(true);
        await lock.release();
      },
      SHORTER_THAN_ENDING,
    );

    it('B48 locks that are granted, refused, lost and released open no more connections than the limit', async () => {
      const few = await service({ maxConnections: 3 });
      const keys = Array.from({ length: 30 }, newKey);
      const { key } = await locks.acquire(newKey());
      const before = (await fixture.sessions()).length;
      await Promise.all(keys.map((one) => few.run(one, () => 1)));
      expect(await Promise.all(keys.map(() => few.tryAcquire(key)))).toEqual(keys.map(() => null));
      const lost = await few.acquire(newKey());
      const event = once(few.events, 'lost');
      await fixture.kill(await fixture.holder(lost.key));
      await event;
      expect((await fixture.sessions()).length).toBeLessThanOrEqual(before + 2);
      await few[INTERNALS].close();
      while ((await fixture.sessions()).length >= before);
    });
  });
