import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { LockStoreError } from '../../../lib/lock.errors.js';
import type { Lock } from '../../../lib/lock.js';
import { captureLog, errorOf, warnings } from '../../core/core-fixture.js';
import { newKey } from '../keys.js';
import { targetsAmong } from './fixture.js';
import { transactionClientsOf, Writers } from './transactions-fixture.js';

for (const target of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56'))
  describe.each(transactionClientsOf(target))(
    `A5 a lock released inside the transaction that guards it, on ${target.name} over %s`,
    (client) => {
      const logged = captureLog();
      let writers: Writers;
      let key: string;
      let failed: unknown[];
      beforeAll(async () => {
        writers = await Writers.open(target, {}, client);
        for (const name of ['storeError', 'lost'] as const)
          writers.service.events.on(name, (event: unknown) => failed.push(event));
      });
      beforeEach(() => {
        key = newKey();
        failed = [];
      });
      afterAll(() => writers.dispose());

      /**
       * Acquires the key in another process while most of its ttl is left, and counts the
       * writes that are committed then.
       */
      const takenAfterCommit = async (): Promise<number> => {
        await using _ = await writers.contender.acquire(key, { wait: '1m' });
        return writers.written(key);
      };
      const guardWarnings = () =>
        warnings(logged).filter((text) => text.includes('transaction that guards it'));

      it('A5 the lock is free after the commit, and one warning names the cause', async () => {
        const released = once(writers.service.events, 'released');
        await writers.transaction(async (context) => {
          const result = writers.service.run(
            key,
            async (lock) => {
              await writers.write(context, key);
              await lock.guard(context);
              return 'done';
            },
            { ttl: '1h' },
          );
          expect(await result).toBe('done');
          expect((await writers.service.admin.inspect(key)).state).toBe('held');
        });
        await released;
        expect(await takenAfterCommit()).toBe(1);
        expect(failed).toEqual([]);
        expect(guardWarnings()).toEqual([
          expect.stringContaining(`"${key}" was released inside the transaction that guards it`),
        ]);
      });

      it.each(['commit', 'roll back'])('A5 the release delays neither its caller nor the %s', async (end) => {
        let lock: Lock | undefined;
        const transaction = writers.transaction(async (context) => {
          lock = await writers.service.acquire(key, { ttl: '1h' });
          await writers.write(context, key);
          await lock.guard(context);
          expect(await lock.release()).toBe(true);
          expect(lock.held).toBe(false);
          expect(await lock.release()).toBe(false);
          if (end === 'roll back') throw new Error('rolled back');
        });
        if (end === 'commit') await transaction;
        else await expect(transaction).rejects.toThrow('rolled back');
        expect(await takenAfterCommit()).toBe(end === 'commit' ? 1 : 0);
        expect(lock?.loss).toBeUndefined();
        expect(failed).toEqual([]);
      });

      it('A5 a waiter of the same process gets the lock after the commit', async () => {
        let waiting: Promise<number> | undefined;
        await writers.transaction(async (context) => {
          await writers.service.run(key, async (lock) => {
            await writers.write(context, key);
            await lock.guard(context);
          });
          waiting = writers.service.run(key, () => writers.written(key), { wait: '1m' });
        });
        expect(await waiting).toBe(1);
      });

      it('A5 a release after the commit frees the lock at once, without a warning', async () => {
        await writers.service.run(
          key,
          (lock) =>
            writers.transaction(async (context) => {
              await writers.write(context, key);
              await lock.guard(context);
            }),
          { ttl: '1h' },
        );
        expect((await writers.service.admin.inspect(key)).state).toBe('free');
        expect(guardWarnings()).toEqual([]);
      });

      it('A5 a renewal that the guard delays does not lose the lock', async () => {
        await writers.service.run(
          key,
          async (lock) => {
            await writers.transaction(async (context) => {
              await writers.write(context, key);
              await lock.guard(context);
              expect(await errorOf(lock.extend())).toBeInstanceOf(LockStoreError);
              expect(lock.held).toBe(true);
            });
            await lock.extend();
            expect(lock.held).toBe(true);
          },
          { ttl: '6s' },
        );
        expect(failed).toEqual([]);
        expect((await writers.service.admin.inspect(key)).state).toBe('free');
      });
    },
  );
