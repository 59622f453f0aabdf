import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { targetsAmong, type ClientName } from './fixture.js';
import { ALLOWED, TTL, Writers, type Level } from './transactions-fixture.js';

for (const target of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56'))
  describe.each(clientsAndLevels(target.name))(
    `a guard in a transaction of the application on ${target.name}, over %s, at %s`,
    (client, level) => {
      let writers: Writers;
      beforeAll(async () => void (writers = await Writers.open(target, {}, client)));
      afterAll(() => writers.dispose());

      const transaction = <T>(work: (context: any) => Promise<T>): Promise<T> =>
        writers.transaction(work, level);
      /** Runs a transaction that writes, and rolls back if the guard refuses the lock. */
      const guarded = (key: string, token: number, meanwhile: () => Promise<void>, owner = 'holder') =>
        transaction(async (context) => {
          await meanwhile();
          await writers.write(context, key);
          if (!(await writers.store.guard(context, key, owner, token))) throw new Error('refused');
        });

      it('B91 the transaction commits while the lock is held', async () => {
        const { key, token } = await writers.hold();
        await guarded(key, token, async () => {});
        expect(await writers.written(key)).toBe(1);
        expect(await writers.store.release(key, 'holder')).toBe(true);
      });

      it('B91 the transaction commits even if the lock has been renewed since the transaction began', async () => {
        const { key, token } = await writers.hold();
        await guarded(key, token, async () => {
          expect(await writers.store.renew(key, 'holder', TTL)).toBe(true);
        });
        expect(await writers.written(key)).toBe(1);
      });

      it('B91 the guard refuses a lock that another process has taken, and without the guard the commit succeeds', async () => {
        const { key, token } = await writers.hold();
        await expect(guarded(key, token, () => writers.steal(key))).rejects.toThrow('refused');
        expect(await writers.written(key)).toBe(0);

        const another = await writers.hold();
        await transaction(async (context) => {
          await writers.steal(another.key);
          await writers.write(context, another.key);
        });
        expect(await writers.written(another.key)).toBe(1);
      });

      it('B91 the guard refuses an expired lease, even if no other process has taken the key', async () => {
        const { key, token } = await writers.hold(200);
        await expect(guarded(key, token, () => writers.expiry(key))).rejects.toThrow('refused');
        expect(await writers.written(key)).toBe(0);
      });

      it('B91 the guard refuses another owner, another token and a released lock', async () => {
        const { key, token } = await writers.hold();
        const nothing = async () => {};
        await expect(guarded(key, token, nothing, 'other')).rejects.toThrow('refused');
        await expect(guarded(key, token + 1, nothing)).rejects.toThrow('refused');
        await expect(guarded(key, token, nothing, `holder' OR '1'='1`)).rejects.toThrow('refused');
        await writers.store.release(key, 'holder');
        await expect(guarded(key, token, nothing)).rejects.toThrow('refused');
        await expect(guarded(`${key}-absent`, token, nothing)).rejects.toThrow('refused');
        expect(await writers.written(key)).toBe(0);
      });

      it.each(['commit', 'roll back'])('B91 the guard makes a contender wait until the %s', async (end) => {
        const { key, token } = await writers.hold(300);
        let stealing: Promise<number> | undefined;
        const ended = transaction(async (context) => {
          await writers.write(context, key);
          expect(await writers.store.guard(context, key, 'holder', token)).toBe(true);
          await writers.expiry(key);
          expect(await writers.contender.tryAcquire(key)).toBeNull();
          stealing = writers.contender.acquire(key, { wait: '20s' }).then(() => writers.written(key));
          // Gives the contender time for its attempts, while the transaction is still open.
          await new Promise((resolve) => setTimeout(resolve, 100));
          if (end === 'roll back') throw new Error('rolled back');
        });
        if (end === 'commit') await ended;
        else await expect(ended).rejects.toThrow('rolled back');
        expect(await stealing).toBe(end === 'commit' ? 1 : 0);
      });

      it('B91 the guard delays only its own lock, and only until its transaction ends', async () => {
        const { key, token } = await writers.hold();
        const other = await writers.hold();
        await transaction(async (context) => {
          expect(await writers.store.guard(context, key, 'holder', token)).toBe(true);
          // SQLite is left out from here on, because it locks whole files instead of rows.
          if (target.name === 'sqlite') return;
          expect(await writers.store.renew(other.key, 'holder', TTL)).toBe(true);
          expect((await writers.store.renewMany([{ ...other, owner: 'holder', ttl: TTL }]))[0]).toBe(
            'renewed',
          );
        });
        expect(await writers.store.renew(key, 'holder', TTL)).toBe(true);
      });

      // SQLite is left out, because it has one connection and so only one transaction at a
      // time.
      if (target.name === 'sqlite') return;

      it('B91 two guarded transactions of one holder do not wait for each other', async () => {
        const { key, token } = await writers.hold();
        await transaction(async (first) => {
          expect(await writers.store.guard(first, key, 'holder', token)).toBe(true);
          await transaction(async (second) => {
            expect(await writers.store.guard(second, key, 'holder', token)).toBe(true);
          });
        });
      });

      it('B91 a guard that waits for a locked row checks the lease when its wait has ended', async () => {
        const { key, token } = await writers.hold(400);
        const blocker = writers.application.createQueryRunner();
        await blocker.startTransaction();
        const [column, mark] = target.name === 'postgres' ? ['key', '$1'] : ['`key`', '?'];
        const bytes = target.name === 'postgres' ? key : Buffer.from(key);
        await blocker.query(`SELECT 1 FROM locks WHERE ${column} = ${mark} FOR UPDATE`, [bytes]);
        const guarding = guarded(key, token, async () => {}).catch((error: unknown) => error);
        await writers.expiry(key);
        await blocker.rollbackTransaction();
        await blocker.release();
        expect(await guarding).toMatchObject({ message: 'refused' });
      });
    },
  );

/**
 * Returns every isolation level with TypeORM, and one level with the driver. SQLite has no
 * level with its driver, whose transactions are synchronous.
 */
function clientsAndLevels(store: keyof typeof ALLOWED): [ClientName, Level][] {
  const all = ALLOWED[store].map((level): [ClientName, Level] => ['TypeORM', level]);
  return store === 'sqlite' ? all : [...all, ['the driver', 'READ COMMITTED']];
}
