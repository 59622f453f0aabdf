import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { LockStoreError } from '../../../lib/lock.errors.js';
import { TypeOrmSessionLockStore, typeOrmSessionStore } from '../../../lib/stores/typeorm/index.js';
import { startGalera } from '../../servers/galera.mjs';
import { startPgBouncer } from '../../servers/pgbouncer.mjs';
import { sqlTargets, type Target } from '../../servers/targets.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { newKey, tokenOf } from '../keys.js';

/**
 * Starts a session store on a DataSource with these options, and returns the error of the
 * start.
 */
async function startOn(options: DataSourceOptions, storeOptions = {}): Promise<unknown> {
  const application = await new DataSource(options).initialize();
  const store = new TypeOrmSessionLockStore(application, storeOptions);
  const outcome = await store.prepare().catch((error: unknown) => error);
  await store.close();
  await application.destroy();
  return outcome;
}

describe('databases without session locks, and those whose session locks exclude no other session', () => {
  it('B8 SQLite is refused, and the error names the store to use', async () => {
    const error = await startOn({ type: 'better-sqlite3', database: ':memory:' });
    expect(error).toBeInstanceOf(LockStoreError);
    expect((error as Error).message).toMatch(/better-sqlite3 has no session locks.*typeOrmStore\(\)/);
  });

  for (const { name } of sqlTargets().filter((one) => one.name === 'mariadb'))
    it(`B8 a Galera node of ${name} is refused, and the error names the store to use`, async () => {
      const cluster = await startGalera(1);
      const { hostname: host, port, username, password, pathname } = new URL(cluster.nodes[0]?.url ?? '');
      const there = { host, port: Number(port), username, password, database: pathname.slice(1) };
      let error: unknown;
      try {
        error = await startOn({ type: 'mariadb', ...there });
      } finally {
        await cluster.stop();
      }
      expect(error).toBeInstanceOf(LockStoreError);
      expect((error as Error).message).toMatch(/node of a Galera cluster.*typeOrmStore\(\)/);
    }, 120_000);
});

for (const { open } of targetsAmong('postgres'))
  describe('session locks behind PgBouncer', () => {
    let target: Target;
    beforeAll(async () => {
      target = await open();
    });
    afterAll(() => target.dispose());

    it('B8 a pooler such as PgBouncer is refused, unless an option allows it', async () => {
      const pooler = await startPgBouncer(target.options as Parameters<typeof startPgBouncer>[0]);
      const { hostname: host, port } = new URL(pooler.url);
      const there = { ...target.options, host, port: Number(port) } as DataSourceOptions;
      const refused = await startOn(there);
      const allowed = await startOn(there, { allowPooler: true });
      await pooler.stop();
      expect(refused).toBeInstanceOf(LockStoreError);
      expect((refused as Error).message).toMatch(
        /a pooler, such as PgBouncer.*typeOrmStore\(\).*allowPooler: true/,
      );
      expect(allowed).toBeUndefined();
    });

    it('B13 a store opens and closes a connection of its own', async () => {
      const definition = typeOrmSessionStore({ connection: target.options, maxConnections: 1 });
      const store = (await definition.useFactory()) as TypeOrmSessionLockStore;
      await store.prepare();
      expect(store.describe()).toBe('store=postgres client=TypeORM locks=session');
      tokenOf(await store.acquire(newKey(), 'owner', 1000));
      await store.close();
    });

    it('B57 a statement that the server has cut off still identifies the holder', async () => {
      const application = await new DataSource(target.options).initialize();
      const store = new TypeOrmSessionLockStore(application);
      const [key, label] = ['é'.repeat(2000), '🔒'.repeat(255)];
      tokenOf(await store.acquire(key, 'owner', 1000, { label }));
      expect(await store.inspect(key)).toMatchObject({ state: 'held', holder: { label: '🔒'.repeat(63) } });
      await store.close();
      await application.destroy();
    });
  });

describe('options of session locks', () => {
  const build = (options: object) => () => typeOrmSessionStore(options);

  it('B8 an unknown option and a wrong value are refused at once', () => {
    expect(build({ table: 'locks' })).toThrow(/does not know the option "table"/);
    for (const maxConnections of [0, -1, 1.5, NaN, Infinity, '3', null])
      expect(build({ maxConnections })).toThrow(/maxConnections must be a whole number of at least 1/);
    for (const whenFull of ['later', 1, null])
      expect(build({ whenFull })).toThrow(/whenFull must be 'wait' or 'throw'/);
    for (const keepAlive of [0, 99, NaN, Infinity, 'soon', null])
      expect(build({ keepAlive })).toThrow(/keepAlive .*at least 100 ms/);
    for (const allowPooler of ['yes', 1, null])
      expect(build({ allowPooler })).toThrow(/allowPooler must be true or false/);
    expect(build({ dataSource: 'a', connection: { type: 'postgres' } })).toThrow(/exclude each other/);
    expect(build({ dataSource: {} })).toThrow(/new TypeOrmSessionLockStore\(dataSource\)/);
    expect(build({ connection: { host: 'a' } })).toThrow(/typeOrmSessionStore\(\{ connection/);
  });

  it('B8 a store without a DataSource is refused', () => {
    for (const nothing of [undefined, null, 'postgres', { type: 'postgres' }])
      expect(() => new TypeOrmSessionLockStore(nothing as never)).toThrow(/needs a DataSource of TypeORM/);
  });

  it('B57 the store refuses options of a request that need leases', async () => {
    const store = new TypeOrmSessionLockStore({
      open: async () => Promise.reject(new Error('opened')),
      close: async () => {},
    });
    for (const request of [{ stealAfter: 1000 }, { once: { slot: 1000 } }])
      await expect(store.acquire('key', 'owner', 1000, request)).rejects.toThrow(
        /Session locks do not support (stealAfter|once)/,
      );
  });
});
