import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import knexOf, { type Knex } from 'knex';
import { createPool } from 'mysql2';
import { Pool } from 'pg';
import { LockModule, LockService } from '../../../lib/index.js';
import { fromKnex, SqlLockStore, sqlStore, type KnexInstance } from '../../../lib/stores/sql/index.js';
import { openTarget, type Target } from '../../servers/targets.js';
import { tokenOf } from '../keys.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { serverOf } from './client-kind.js';
import { openKnex } from './knex.js';

const message = (given: unknown): string => {
  try {
    fromKnex(given as KnexInstance);
  } catch (error) {
    expect(error).toMatchObject({ name: 'LockError' });
    return (error as Error).message;
  }
  throw new Error('it was taken');
};

describe('fromKnex()', () => {
  let target: Target;
  let knex: Knex;
  beforeAll(async () => {
    target = await openTarget('sqlite');
    knex = openKnex(target);
  });
  afterAll(async () => {
    await knex.destroy();
    await target.dispose();
  });

  it.each<[string, () => unknown]>([
    ['undefined', () => undefined],
    ['null', () => null],
    ['a text', () => 'postgres://app:hunter2@db/app'],
    ['another object', () => ({ client: 'pg', connection: { password: 'hunter2' } })],
    ['a promise: await it', () => Promise.resolve(knex)],
    ['a pool of pg', () => new Pool()],
    ['a pool of mysql2', () => createPool({})],
  ])('B90 fromKnex() refuses %s, and names what it got and what it needs', (kind, given) => {
    expect(message(given())).toBe(
      `fromKnex() needs a Knex instance, but it got ${kind}. Pass the result of knex({ client: 'pg', connection }).`,
    );
  });

  it('B91 fromKnex() refuses a transaction', async () => {
    await knex.transaction(async (transaction) => {
      expect(message(transaction)).toMatch(/needs a Knex instance, but it got a transaction of Knex/);
    });
  });

  it.each([
    ['mysql', 'mysql2'],
    ['mariadb', 'mysql2'],
    ['sqlite3', 'better-sqlite3'],
    ['pgnative', 'pg'],
  ])('B90 the Knex client %s is refused by its name, and the error recommends %s', (client, instead) => {
    expect(message({ client: { driverName: client, config: {} }, transaction() {}, raw() {} })).toBe(
      `fromKnex() cannot use the client ${client} of Knex. Install ${instead}, and set client: '${instead}' in the options of Knex.`,
    );
  });

  it.each(['mssql', 'oracledb', 'cockroachdb', 'pg-redshift'])(
    'B90 the Knex client %s is refused, since the library does not support its database',
    (client) => {
      expect(message({ client: { driverName: client, config: {} }, transaction() {}, raw() {} })).toBe(
        `fromKnex() supports the clients pg, mysql2, better-sqlite3 of Knex, but this instance has ${client}. Keep the locks in another database that the application has, through an instance with one of these clients.`,
      );
    },
  );

  it('B90 an instance without a database or connection and a destroyed instance are refused', async () => {
    class Dialect extends knexOf.Client {}
    expect(message(knexOf({ client: Dialect }))).toMatch(
      /has a database, but the instance that it got only builds queries/,
    );
    expect(message(knexOf({ client: 'pg' }))).toMatch(/with a connection. Pass the option connection/);
    const destroyed = openKnex(target);
    await destroyed.destroy();
    expect(message(destroyed)).toMatch(/but the application has destroyed it/);
  });

  it('B90 operations fail with the cause after the application has destroyed the instance', async () => {
    const ending = openKnex(target);
    const store = new SqlLockStore(fromKnex(ending));
    await store.prepare();
    await ending.destroy();
    await expect(store.transaction(async () => {})).rejects.toMatchObject({
      name: 'LockStoreError',
      message: expect.stringMatching(/The Knex instance was destroyed/),
      transient: true,
    });
    await store.close();
  });

  it('B90 a database in memory is refused, because no other connection can see it', async () => {
    const inMemory = knexOf({
      client: 'better-sqlite3',
      connection: { filename: ':memory:' },
      useNullAsDefault: true,
    });
    await expect(new SqlLockStore(fromKnex(inMemory)).prepare()).rejects.toThrow(
      /no other connection can see/,
    );
    await inMemory.destroy();
  });

  it("B90 the store's own connection to a SQLite file runs the hook of the pool", async () => {
    const hooked: unknown[] = [];
    const instance = openKnex(target, 1, {
      pool: {
        afterCreate: (connection: unknown, done: () => void) => {
          hooked.push(connection);
          done();
        },
      },
    });
    const store = new SqlLockStore(fromKnex(instance));
    await store.prepare();
    expect(hooked).toHaveLength(1);
    await store.close();
    await instance.destroy();
  });

  it('B90 fromKnex() gets the instance that Nest injects into sqlStore()', async () => {
    const app = await NestFactory.createApplicationContext(
      {
        module: class Application {},
        imports: [
          {
            module: class Databases {},
            providers: [{ provide: 'KNEX', useValue: knex }],
            exports: ['KNEX'],
          },
          LockModule.forRoot({ store: sqlStore({ inject: ['KNEX'], executor: fromKnex }) }),
        ],
      },
      { logger: false, abortOnError: false },
    );
    expect(await app.get(LockService).run('injected', async (lock) => lock.held)).toBe(true);
    await app.close();
  });
});

for (const { name, open } of targetsAmong('postgres', 'mysql'))
  describe(`fromKnex() on ${name}`, () => {
    const client = name === 'postgres' ? 'pg' : 'mysql2';
    let target: Target;
    beforeAll(async () => void (target = await open()));
    afterAll(() => target.dispose());

    /** Acquires a lock through an instance, and returns the executor's description of it. */
    const locks = async (config: Knex.Config) => {
      const knex = knexOf({ client, pool: { min: 0, max: 3 }, ...config });
      const executor = fromKnex(knex);
      const store = new SqlLockStore(executor);
      const key = `on ${name}`;
      const token = tokenOf(await store.acquire(key, 'owner', 60_000));
      await knex.transaction(async (transaction) => {
        expect(await store.guard(transaction, key, 'owner', token)).toBe(true);
      });
      await store.transaction(async (transaction) => transaction.raw('SELECT 1'));
      expect(await store.release(key, 'owner')).toBe(true);
      const { description, schema, type, poolSize } = executor;
      await store.close();
      expect(knex.client.pool?.numUsed?.() ?? 0).toBe(0);
      await knex.destroy();
      return { description, schema, type, poolSize };
    };
    const url = () => {
      const { host, port, user, password, database } = serverOf(target);
      return `${name}://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}`;
    };
    const described = () => {
      const { host, port, database } = serverOf(target);
      return {
        type: name,
        description: `${name} at ${host}:${port}, database ${database}`,
        schema: name === 'mysql' ? database : undefined,
        poolSize: 3,
      };
    };

    it('B90 the connection of Knex may be given as options, as a URL or as a function', async () => {
      expect(await locks({ connection: serverOf(target) })).toEqual(described());
      expect(await locks({ connection: url() })).toEqual(described());
      const given = () => ({ ...serverOf(target), expirationChecker: () => false });
      expect(await locks({ connection: given })).toEqual(described());
      expect(await locks({ connection: async () => serverOf(target) })).toEqual(described());
    });

    it("B90 fromKnex() takes a driver's pool that the application passed to Knex", async () => {
      const pool =
        name === 'postgres'
          ? new Pool({ ...serverOf(target), max: 3 })
          : createPool({ ...serverOf(target), connectionLimit: 3 });
      expect(await locks({ connectionPool: pool } as Knex.Config)).toEqual(described());
      await (pool as Pool).end();
    });

    it('B91 a guard refuses the transaction of another Knex instance, even if both use pools of a driver', async () => {
      const poolOf = () =>
        name === 'postgres'
          ? new Pool({ ...serverOf(target), max: 3 })
          : createPool({ ...serverOf(target), connectionLimit: 3 });
      const pools = [poolOf(), poolOf()];
      const [ours, others] = pools.map((connectionPool) => knexOf({ client, connectionPool } as Knex.Config));
      const store = new SqlLockStore<Knex.Transaction>(fromKnex(ours!));
      const token = tokenOf(await store.acquire('guarded', 'owner', 60_000));
      const guard = (trx: Knex.Transaction) => store.guard(trx, 'guarded', 'owner', token);
      expect(await ours!.transaction(guard)).toBe(true);
      await expect(others!.transaction(guard)).rejects.toThrow(/belongs to another Knex instance/);
      await store.close();
      for (const pool of pools) await (pool as Pool).end();
    });

    if (name === 'postgres')
      it("B90 the locks are in the first schema of Knex's searchPath", async () => {
        const knex = knexOf({ client, connection: serverOf(target), searchPath: ['tenant', 'public'] });
        await knex.raw('DROP TABLE public.locks');
        await knex.raw('CREATE SCHEMA tenant');
        const store = new SqlLockStore(fromKnex(knex));
        await store.prepare();
        expect(store.describe()).toContain('table=tenant.locks');
        await store.close();
        await knex.destroy();
        expect(await locks({ connection: serverOf(target), searchPath: 'tenant' })).toMatchObject({
          schema: 'tenant',
        });
      });

    it('B83 connections that the application left dirty are removed from the pool of Knex', async () => {
      const knex = knexOf({ client, connection: serverOf(target), pool: { min: 0, max: 2 } });
      const store = new SqlLockStore(fromKnex(knex));
      await store.prepare();
      const connections = [await knex.client.acquireConnection(), await knex.client.acquireConnection()];
      for (const connection of connections) {
        await knex.raw('START TRANSACTION').connection(connection);
        await knex.client.releaseConnection(connection);
      }
      expect(await store.acquire('dirty', 'owner', 60_000)).toMatchObject({ acquired: true });
      const lent = [await knex.client.acquireConnection(), await knex.client.acquireConnection()];
      expect(lent.filter((connection) => connections.includes(connection))).toEqual([]);
      for (const connection of lent) await knex.client.releaseConnection(connection);
      await store.close();
      await knex.destroy();
    });
  });
