import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { lockTableMigration, TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { newKey, tokenOf } from '../keys.js';
import { Fixture, targetsAmong } from './fixture.js';

const TTL = 60_000;

/**
 * Runs a statement on every connection of the pool, and leaves its effect there, as an
 * application may do.
 */
async function leaveSet(dataSource: DataSource, sql: string, connections: number): Promise<void> {
  const runners = Array.from({ length: connections }, () => dataSource.createQueryRunner());
  for (const runner of runners) {
    await runner.connect();
    await runner.query(sql);
  }
  await Promise.all(runners.map((runner) => runner.release()));
}

/** Calls every operation of a store, so that a statement without the schema fails. */
async function useAll(store: TypeOrmLockStore): Promise<void> {
  const key = newKey();
  const token = tokenOf(await store.acquire(key, 'one', TTL, { label: 'first' }));
  await store.transaction(async (manager) => {
    expect(await store.guard(manager, key, 'one', token)).toBe(true);
  });
  expect(await store.acquire(key, 'two', TTL, { stealAfter: TTL })).toMatchObject({ reason: 'held' });
  expect(await store.renew(key, 'one', TTL)).toBe(true);
  expect(await store.renewMany([{ key, owner: 'one', ttl: TTL }])).toEqual(['renewed']);
  expect(await store.releaseToWaiter(key, 'one', { owner: 'two', ttl: TTL })).toMatchObject({
    acquired: true,
  });
  expect((await store.list({ prefix: key, limit: 10 })).locks).toMatchObject([{ key }]);
  expect(await store.inspect(key)).toMatchObject({ state: 'held' });
  expect([await store.pause(key), await store.resume(key)]).toEqual([true, true]);
  expect(await store.forceRelease(key)).toBe(true);
  tokenOf(await store.acquire(key, 'one', TTL));
  expect(await store.release(key, 'one')).toBe(true);
  expect(await store.purge({ prefix: key, olderThan: 0 })).toBe(1);
}

for (const target of targetsAmong('postgres'))
  describe('the schema of the lock table on PostgreSQL', () => {
    let fixture: Fixture;
    let admin: DataSource;

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      admin = await fixture.dataSource();
    });
    afterAll(() => fixture.dispose());

    const newSchema = async (name = `s_${newKey().replaceAll('-', '_')}`) => {
      await admin.query(`CREATE SCHEMA "${name.replaceAll('"', '""')}"`);
      return name;
    };
    const schemasWith = async (table: string): Promise<string[]> =>
      (await admin.query(`SELECT schemaname FROM pg_tables WHERE tablename = $1 ORDER BY 1`, [table])).map(
        (row: { schemaname: string }) => row.schemaname,
      );
    /** Opens a DataSource for a user with this default search path. */
    const withPath = async (path: string, user = `u_${newKey().replaceAll('-', '_')}`) => {
      await admin.query(`CREATE ROLE "${user}" LOGIN SUPERUSER PASSWORD 'plain'`);
      await admin.query(`ALTER ROLE "${user}" SET search_path = ${path}`);
      return fixture.dataSource({ username: user, password: 'plain' });
    };
    const placeOn = async (dataSource: DataSource, options = {}) => {
      const store = new TypeOrmLockStore(dataSource, options);
      await store.prepare();
      await useAll(store);
      const place = / table=(.*)$/.exec(store.describe())?.[1];
      await store.close();
      return place;
    };

    it('A2 a search path that was left on a connection does not change which lock table the store uses', async () => {
      const left = await newSchema();
      await admin.query(TypeOrmLockStore.ddl('postgres', { schema: left }));
      const [mine, other] = [await fixture.dataSource({ poolSize: 3 }), await fixture.store()];
      const store = new TypeOrmLockStore(mine);
      await store.prepare();
      await leaveSet(mine, `SET search_path TO ${left}`, 3);
      const key = newKey();
      tokenOf(await other.acquire(key, 'first', TTL));
      expect(await store.acquire(key, 'second', TTL)).toMatchObject({ acquired: false, reason: 'held' });
      await leaveSet(mine, `SET search_path TO no_such_schema`, 3);
      await useAll(store);
      expect(await admin.query(`SELECT key FROM ${left}.locks`)).toEqual([]);
    });

    it('A2 a search path that was set before the store opens does not change which lock table the store uses', async () => {
      const left = await newSchema();
      const mine = await fixture.dataSource({ poolSize: 2 });
      await leaveSet(mine, `SET search_path TO ${left}`, 2);
      expect(await placeOn(mine, { table: 'late' })).toBe('public.late');
    });

    it('B84 the store reads the default search path as the server does', async () => {
      const [plain, mixed, odd] = [
        await newSchema(),
        await newSchema(`My "Own" ${newKey()}`),
        await newSchema(),
      ];
      const quoted = `"${mixed.replaceAll('"', '""')}"`;
      const user = `u_${newKey().replaceAll('-', '_')}`;
      expect(await placeOn(await withPath(`no_such_schema, ${quoted}, ${plain}`), { table: 'a1' })).toBe(
        `${mixed}.a1`,
      );
      expect(await placeOn(await withPath(`${plain.toUpperCase()}, public`), { table: 'a2' })).toBe(
        `${plain}.a2`,
      );
      expect(await placeOn(await withPath(`pg_catalog, ${odd}`), { table: 'a3' })).toBe(`${odd}.a3`);
      await newSchema(user);
      expect(await placeOn(await withPath(`"$user", public`, user), { table: 'a4' })).toBe(`${user}.a4`);
      expect(await placeOn(await withPath(`"$user", public`), { table: 'a5' })).toBe(`public.a5`);
      await expect(placeOn(await withPath(`no_such_schema`))).rejects.toThrow(/search_path .*option schema/);
    });

    it('B84 "$user" in a search path is the role of the user, not a role set in a session', async () => {
      const [owner, user] = [0, 1].map(() => `r_${newKey().replaceAll('-', '_')}`);
      await admin.query(`CREATE ROLE ${owner} SUPERUSER`);
      await newSchema(owner);
      const mine = await withPath(`"$user", public`, user);
      await admin.query(`ALTER ROLE ${user} SET role = ${owner}`);
      const later = await fixture.dataSource({ username: user, password: 'plain' });
      expect(await placeOn(later, { table: 'roles' })).toBe(`${owner}.roles`);
      await leaveSet(mine, `SET ROLE ${owner}`, 1);
      expect(await placeOn(mine, { table: 'roles2' })).toBe(`${owner}.roles2`);
    });

    it('B84 the store finds an existing lock table in a later schema of the default search path', async () => {
      const [first, second] = [await newSchema(), await newSchema()];
      await admin.query(TypeOrmLockStore.ddl('postgres', { schema: second, table: 'further' }));
      expect(await placeOn(await withPath(`${first}, ${second}`), { table: 'further' })).toBe(
        `${second}.further`,
      );
    });

    it("A3 the DataSource's schema is the default, and each schema has its own locks and waiters", async () => {
      const schemas = [await newSchema('t1'), await newSchema('T2-mixed')];
      const stores = await Promise.all(
        schemas.map((schema) => fixture.store({ schema }, { table: 'tenants' })),
      );
      expect(stores.map((store) => store.describe())).toEqual([
        'store=postgres client=TypeORM table=t1.tenants',
        'store=postgres client=TypeORM table=T2-mixed.tenants',
      ]);
      const key = newKey();
      for (const store of stores) tokenOf(await store.acquire(key, 'one', TTL));
      for (const store of stores) await useAll(store);
      expect(await schemasWith('tenants')).toEqual(['T2-mixed', 't1']);
      expect(await stores[0]?.release(key, 'one')).toBe(true);
      expect(await stores[1]?.inspect(key)).toMatchObject({ state: 'held' });
    });

    it('B84 the option schema of the store comes before the schema of the DataSource', async () => {
      const [own, configured] = [await newSchema(), await newSchema()];
      const store = await fixture.store({ schema: configured }, { schema: own, table: 'chosen' });
      expect(store.describe()).toBe(`store=postgres client=TypeORM table=${own}.chosen`);
      expect(await schemasWith('chosen')).toEqual([own]);
    });

    it('A3 a start fails while the locks are still in another schema, and the error names the choices', async () => {
      const schema = await newSchema();
      const application = await fixture.dataSource({ schema });
      // This table is in the default schema, as if an earlier version of the library had made
      // it there.
      await fixture.store({}, { table: 'moved' });
      const start = () => new TypeOrmLockStore(application, { table: 'moved' }).prepare();
      await expect(start()).rejects.toMatchObject({
        name: 'LockError',
        message: expect.stringMatching(
          new RegExp(
            `${schema} in the options of TypeORM has no table moved.*public\\.moved.*schema to 'public'.*ALTER TABLE "public"\\."moved" SET SCHEMA "${schema}"`,
          ),
        ),
      });
      const migrating = await fixture.dataSource({
        schema,
        migrations: [lockTableMigration({ table: 'moved' })],
      });
      await expect(migrating.runMigrations()).rejects.toThrow(/public\.moved/);
      await fixture.store({ schema }, { table: 'moved', schema: 'public' });
      await admin.query(`ALTER TABLE public.moved SET SCHEMA "${schema}"`);
      await start();
    });

    it('A3 the store starts even if an unrelated table in another schema has the name of the lock table', async () => {
      const schema = await newSchema();
      await admin.query('CREATE TABLE public.doors (id int)');
      const store = await fixture.store({ schema }, { table: 'doors' });
      expect(store.describe()).toBe(`store=postgres client=TypeORM table=${schema}.doors`);
    });

    it('A3 the start fails if the schema is missing, with and without autoCreate, and the error names the schema', async () => {
      for (const autoCreate of [true, false]) {
        const start = fixture.store({ schema: 'Not there' }, { autoCreate });
        await expect(start).rejects.toThrow(/schema Not there .* does not exist/);
      }
    });

    it('A3 the migration creates and drops the table in the schema that the store uses', async () => {
      const schema = await newSchema();
      const migrations = [lockTableMigration({ table: 'migrated' })];
      const migrating = await fixture.dataSource({ schema, migrations, poolSize: 1 });
      await leaveSet(migrating, 'SET search_path TO no_such_schema, public', 1);
      await migrating.runMigrations();
      expect(await schemasWith('migrated')).toEqual([schema]);
      await fixture.store({ schema }, { table: 'migrated', autoCreate: false });
      await migrating.undoLastMigration();
      expect(await schemasWith('migrated')).toEqual([]);
    });
  });

for (const target of targetsAmong('mysql', 'mariadb', 'mysql56'))
  describe(`the database of the lock table on ${target.name}`, () => {
    let fixture: Fixture;
    let application: DataSource;
    let others: string[];

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource({ poolSize: 3 });
      const { database } = application.options;
      others = [`${String(database)}_b`, `${String(database)}-a?:x`];
      for (const name of others) await application.query(`CREATE DATABASE \`${name}\``);
    });
    afterAll(async () => {
      for (const name of others) await application.query(`DROP DATABASE \`${name}\``);
      await fixture.dispose();
    });

    it('A2 a database that was chosen with USE on a connection does not change which lock table the store uses', async () => {
      const [left] = others;
      await application.query(TypeOrmLockStore.ddl('mysql', { schema: left, table: 'locks' }));
      const store = new TypeOrmLockStore(application);
      await leaveSet(application, `USE \`${left}\``, 3);
      await store.prepare();
      const { database } = application.options;
      expect(store.describe()).toContain(` table=${String(database)}.locks`);
      const key = newKey();
      tokenOf(await (await fixture.store()).acquire(key, 'first', TTL));
      expect(await store.acquire(key, 'second', TTL)).toMatchObject({ acquired: false, reason: 'held' });
      await useAll(store);
      expect(await application.query(`SELECT 1 FROM \`${left}\`.locks`)).toEqual([]);
    });

    it.each([
      ['the option database', (database: string) => ({ database })],
      ['extra', (database: string) => ({ extra: { database } })],
      ['a URL', (database: string) => ({ url: urlTo(application, database), database: undefined })],
      [
        'the master of a replication',
        (database: string) => ({ replication: { master: { ...application.options, database }, slaves: [] } }),
      ],
    ])('B84 the database comes from the configuration: %s', async (_, options) => {
      const [configured = ''] = others;
      const mine = await fixture.dataSource(options(configured));
      await leaveSet(mine, `USE \`${String(application.options.database)}\``, 1);
      const store = new TypeOrmLockStore(mine, { table: 'configured' });
      await store.prepare();
      await useAll(store);
      expect(store.describe()).toContain(` table=${configured}.configured`);
    });

    it.each([true, false])(
      'A2 any database name is quoted, with preparedStatements: %j',
      async (preparedStatements) => {
        const store = await fixture.store({ database: others[1] }, { preparedStatements, table: 'odd' });
        await useAll(store);
      },
    );

    it('A2 a store works in sessions without a database', async () => {
      const schema = String(application.options.database);
      await useAll(await fixture.store({ database: undefined }, { schema }));
    });

    it('A2 the migration creates and drops the table in the database that the store uses', async () => {
      const migrations = [lockTableMigration({ table: 'migrated' })];
      const migrating = await fixture.dataSource({ migrations, poolSize: 1 });
      const { database } = application.options;
      const tables = async () =>
        application.query(`SHOW TABLES FROM \`${String(database)}\` LIKE 'migrated'`);
      await migrating.runMigrations();
      await leaveSet(migrating, `USE \`${others[0]}\``, 1);
      expect(await tables()).toHaveLength(1);
      await fixture.store({}, { table: 'migrated', autoCreate: false });
      await migrating.undoLastMigration();
      expect(await tables()).toEqual([]);
    });
  });

function urlTo({ options }: DataSource, database: string): string {
  const { type, host, port, username, password } = options as any;
  return `${type}://${username}:${password}@${host}:${port}/${database}`;
}

for (const target of targetsAmong('sqlite'))
  it('A2 a temporary table of the application does not hide the lock table', async () => {
    const fixture = await Fixture.open(target);
    const application = await fixture.dataSource();
    const store = new TypeOrmLockStore(application);
    await store.prepare();
    await application.query('CREATE TEMPORARY TABLE locks (id int)');
    await useAll(store);
    await store.close();
    await fixture.dispose();
  });
