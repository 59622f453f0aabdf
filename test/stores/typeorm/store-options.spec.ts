import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { TypeOrmLockStore, typeOrmStore } from '../../../lib/stores/typeorm/index.js';
import { LockError } from '../../../lib/lock.errors.js';
import { sqlTargets } from '../../servers/targets.js';
import { Fixture, recordStatements, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const TTL = 60_000;

for (const target of sqlTargets())
  describe(`options of the store on ${target.name}`, () => {
    let fixture: Fixture;
    let application: DataSource;
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
    });
    afterAll(() => fixture.dispose());

    const opened = async (options: object) => {
      const store = new TypeOrmLockStore(application, options);
      await store.prepare();
      return store;
    };

    it.each(['asyncRelease', 'preparedStatements'])('B8 a wrong value of %s is refused at once', (option) => {
      expect(() => new TypeOrmLockStore(application, { [option]: 'yes' })).toThrow(
        `${option} must be true or false`,
      );
      expect(() => typeOrmStore({ [option]: 1 })).toThrow(LockError);
    });

    if (target.name !== 'postgres')
      it('B8 asyncRelease is refused at start, and the error names the alternatives', async () => {
        const opening = opened({ asyncRelease: true });
        await expect(opening).rejects.toThrow(LockError);
        await expect(opening).rejects.toThrow(/for PostgreSQL.*typeOrmSessionStore\(\).*weak/);
        await opened({ asyncRelease: false });
      });

    if (target.name === 'sqlite')
      it('B8 preparedStatements: false is refused at start, since SQLite has no pooler', async () => {
        await expect(opened({ preparedStatements: false })).rejects.toThrow(
          /SQLite is never behind a pooler/,
        );
        await opened({ preparedStatements: true });
      });
    else
      describe('the option preparedStatements: false', () => {
        it('B8 a store without prepared statements leaves none in the sessions', async () => {
          const own = await fixture.dataSource({ poolSize: 1 });
          const cycle = async (preparedStatements: boolean) => {
            const store = new TypeOrmLockStore(own, { preparedStatements });
            const key = newKey();
            tokenOf(await store.acquire(key, 'o', TTL));
            expect(await store.renew(key, 'o', TTL)).toBe(true);
            expect(await store.release(key, 'o')).toBe(true);
          };
          const prepared = async () =>
            target.name === 'postgres'
              ? (await own.query('SELECT name FROM pg_prepared_statements')).length
              : Number((await own.query(`SHOW SESSION STATUS LIKE 'Com_stmt_prepare'`))[0].Value);
          await cycle(false);
          expect(await prepared()).toBe(0);
          await cycle(true);
          expect(await prepared()).toBeGreaterThan(2);
        });

        it('B36 a store without prepared statements escapes every value', async () => {
          const store = await opened({ preparedStatements: false });
          const label = `'; DROP TABLE locks; -- \\' " ? :owner $1 漢😀`;
          const [key, owner] = [`${newKey()} ? ' \\ ' :key`, `o'? \\`];
          tokenOf(await store.acquire(key, owner, TTL, { label }));
          const refused = await store.acquire(key, 'other', TTL);
          expect(refused).toMatchObject({ reason: 'held', holder: { key, label } });
          expect(await store.release(key, owner, { outcome: 'failed' })).toBe(true);
          expect((await store.inspect(key)).lastRun).toMatchObject({ label, outcome: 'failed' });
        });
      });
  });

for (const target of targetsAmong('postgres'))
  describe('the option asyncRelease', () => {
    let fixture: Fixture;
    let application: DataSource;
    let store: TypeOrmLockStore;
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
      store = new TypeOrmLockStore(application, { asyncRelease: true });
      await store.prepare();
    });
    afterAll(() => fixture.dispose());

    it('B85 a release takes one statement', async () => {
      const own = await fixture.dataSource();
      const recorded = new TypeOrmLockStore(own, { asyncRelease: true });
      const key = newKey();
      tokenOf(await recorded.acquire(key, 'o', TTL));
      const statements = recordStatements(own);
      expect(await recorded.release(key, 'o')).toBe(true);
      expect(statements).toHaveLength(1);
    });

    it('B85 only releases do not wait for the disk, and only if a forgotten release would cost little', async () => {
      await application.query('CREATE TABLE seen (place serial, waits text)');
      await application.query(
        `CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO seen (waits) VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$`,
      );
      await application.query(
        'CREATE TRIGGER seeing BEFORE INSERT OR UPDATE ON locks FOR EACH ROW EXECUTE FUNCTION see()',
      );
      /** Returns for each commit of the operation whether it waits for the disk. */
      const wait = async (operation: () => Promise<boolean>, line?: string) => {
        if (line !== undefined) await application.query('UPDATE locks SET waiting = $1', [[line]]);
        await application.query('TRUNCATE seen');
        expect(await operation()).toBe(true);
        const seen = await application.query<{ waits: string }[]>('SELECT waits FROM seen');
        return seen.map(({ waits }) => waits);
      };
      const take = async (key: string, ttl = TTL, request = {}) =>
        (await store.acquire(key, 'o', ttl, request)).acquired;
      const released = async (ttl: number, end = {}, request = {}, line?: string) => {
        const key = newKey();
        expect(await take(key, ttl, request)).toBe(true);
        return wait(() => store.release(key, 'o', end), line);
      };
      const key = newKey();
      const next = { owner: 'next', ttl: TTL };
      const tick = { once: { tick: Date.now() - 1000, ahead: 60_000 } };
      expect({
        soonFree: await released(TTL),
        soonFreeFailed: await released(1000, { outcome: 'failed' }),
        later: await released(2 * TTL),
        endless: await released(Number.MAX_SAFE_INTEGER),
        kept: await released(TTL, { keepFor: 1000 }),
        tick: await released(TTL, {}, tick),
        soonFreeCalling: await released(TTL, {}, {}, 'nobody'),
        laterCalling: await released(2 * TTL, {}, {}, 'nobody'),
        endlessCalling: await released(Number.MAX_SAFE_INTEGER, {}, {}, 'nobody'),
        tickCalling: await released(TTL, {}, tick, 'nobody'),
        acquire: await wait(() => take(key)),
        renew: await wait(() => store.renew(key, 'o', TTL)),
        releaseToWaiter: await wait(async () => (await store.releaseToWaiter(key, 'o', next)).acquired),
        forceRelease: await wait(() => store.forceRelease(key)),
      }).toEqual({
        soonFree: ['off'],
        soonFreeFailed: ['off'],
        later: ['on'],
        endless: ['on'],
        kept: ['on'],
        tick: ['on'],
        soonFreeCalling: ['off'],
        laterCalling: ['on'],
        endlessCalling: ['on'],
        tickCalling: ['on'],
        acquire: ['on'],
        renew: ['on'],
        releaseToWaiter: ['on'],
        forceRelease: ['on'],
      });
      const sessions = Array.from({ length: 10 }, () => application.query('SHOW synchronous_commit'));
      expect((await Promise.all(sessions)).flat()).toEqual(
        sessions.map(() => ({ synchronous_commit: 'on' })),
      );
    });

    it('B85 after a crash, a release may be forgotten, which costs the rest of the ttl, but a grant never is', async () => {
      const withoutTypes: string = '../../servers/postgres.mjs';
      const server = await (await import(withoutTypes)).start();
      let own: DataSource | undefined;
      try {
        const connect = () => new DataSource({ type: 'postgres', url: server.url }).initialize();
        own = await connect();
        // A longer wal_writer_delay keeps the server from writing its log before the crash.
        await own.query(`ALTER SYSTEM SET wal_writer_delay = '10s'`);
        await own.query('SELECT pg_reload_conf()');
        const storeOn = (dataSource: DataSource) => new TypeOrmLockStore(dataSource, { asyncRelease: true });
        const before = storeOn(own);
        const granted = await before.acquire('passed', 'first', TTL);
        expect(await before.release('passed', 'first')).toBe(true);
        const token = tokenOf(await before.acquire('passed', 'second', TTL));
        expect(token).toBeGreaterThan(tokenOf(granted));
        const ttl = 5_000;
        tokenOf(await before.acquire('forgotten', 'first', ttl, { label: 'first' }));
        expect(await before.release('forgotten', 'first')).toBe(true);
        await server.crash();
        await own.destroy().catch(() => {});
        await server.restart();

        own = await connect();
        const after = storeOn(own);
        expect(await after.renew('passed', 'second', TTL)).toBe(true);
        expect(await after.inspect('passed')).toMatchObject({ holder: { fencingToken: token } });
        expect(['held', 'expired']).toContain((await after.inspect('forgotten')).state);
        const deadline = performance.now() + 2 * ttl;
        while (!(await after.acquire('forgotten', 'next', TTL)).acquired) {
          expect(performance.now()).toBeLessThan(deadline);
          await sleep(20);
        }
        expect((await after.inspect('forgotten')).lastRun).toMatchObject({
          label: 'first',
          outcome: 'failed',
        });
      } finally {
        await own?.destroy().catch(() => {});
        await server.stop();
      }
    });
  });
