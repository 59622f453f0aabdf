import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import Database from 'better-sqlite3';
import { drizzle as drizzleSqlite } from 'drizzle-orm/better-sqlite3';
import { drizzle as drizzleMysql } from 'drizzle-orm/mysql2';
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres';
import { withReplicas } from 'drizzle-orm/pg-core';
import { drizzle as drizzleProxy } from 'drizzle-orm/pg-proxy';
import knexOf from 'knex';
import { createConnection, createPool } from 'mysql2';
import { Client, Pool } from 'pg';
import { LockModule, LockService } from '../../../lib/index.js';
import { fromDrizzle, SqlLockStore, sqlStore, type DrizzleDatabase } from '../../../lib/stores/sql/index.js';
import { openTarget, type Target } from '../../servers/targets.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { serverOf } from './client-kind.js';
import { openDrizzleSqlite } from './drizzle.js';

const message = (given: unknown): string => {
  try {
    fromDrizzle(given as DrizzleDatabase);
  } catch (error) {
    expect(error).toMatchObject({ name: 'LockError' });
    return (error as Error).message;
  }
  throw new Error('it was taken');
};

describe('fromDrizzle()', () => {
  let target: Target;
  let database: Database.Database;
  let db: DrizzleDatabase;
  beforeAll(async () => {
    target = await openTarget('sqlite');
    ({ db, database } = openDrizzleSqlite(target));
  });
  afterAll(async () => {
    database.close();
    await target.dispose();
  });

  it.each<[string, () => unknown]>([
    ['undefined', () => undefined],
    ['null', () => null],
    ['a text', () => 'postgres://app:hunter2@db/app'],
    ['another object', () => ({ connection: { password: 'hunter2' } })],
    ['a promise: await it', () => Promise.resolve(db)],
    ['a pool of pg', () => new Pool()],
    ['a pool of mysql2', () => createPool({})],
    ['a database of better-sqlite3', () => database],
    ['a Knex instance', () => knexOf({ client: 'pg' })],
  ])('B90 fromDrizzle() refuses %s, and names what it got and what it needs', (kind, given) => {
    expect(message(given())).toBe(
      `fromDrizzle() needs a Drizzle database, but it got ${kind}. Pass the result of drizzle(pool) of drizzle-orm/node-postgres, /mysql2 or /better-sqlite3.`,
    );
  });

  it('B91 fromDrizzle() refuses a transaction', () => {
    drizzleSqlite(database).transaction((transaction) => {
      expect(message(transaction)).toMatch(
        /^fromDrizzle\(\) needs a Drizzle database, but it got a transaction/,
      );
    });
  });

  it('B77 a database on a single connection is refused, since locks would join its transactions', () => {
    expect(message(drizzlePg(new Client()))).toBe(
      "fromDrizzle() needs a Drizzle database on a pool of pg, but the database is on a client of pg. On a single connection, the locks would join the application's transactions, whose rollback would undo them. Pass a pool to drizzle().",
    );
    const connection = createConnection({ host: '127.0.0.1', port: 1 });
    connection.on('error', () => undefined);
    expect(message(drizzleMysql(connection))).toMatch(
      /on a pool of mysql2, but the database is on a connection of mysql2/,
    );
    connection.destroy();
  });

  it.each(['PostgresJs', 'NeonHttp', 'Planetscale', 'LibSQL', 'Pglite', 'BunSQL', 'SQLiteD1'])(
    'B90 the driver of a %sSession is refused by its name, and the error tells the next step',
    (name) => {
      class Session {
        client = {};
      }
      Object.assign(Session, { [Symbol.for('drizzle:entityKind')]: `${name}Session` });
      expect(message({ session: new Session(), select() {}, transaction() {} })).toBe(
        `fromDrizzle() supports Drizzle on node-postgres, mysql2 and better-sqlite3, but this database is on another driver (${name}). For the locks, open a pool of pg, mysql2 or better-sqlite3 to the same database, and pass it to fromPg(), fromMysql2() or fromBetterSqlite3().`,
      );
    },
  );

  it('B90 a database of another driver of Drizzle is refused', () => {
    expect(message(drizzleProxy(async () => ({ rows: [] })))).toMatch(/is on another driver \(PgRemote\)/);
  });

  it('B90 a database without a driver and a closed pool or file are refused', async () => {
    expect(message(drizzlePg.mock())).toMatch(/on a pool of pg, but the database is on another object/);
    const pool = new Pool();
    await pool.end();
    expect(message(drizzlePg(pool))).toMatch(/the application has ended it/);
    const closed = new Database(String(target.options.database));
    closed.close();
    expect(message(drizzleSqlite(closed))).toMatch(/has closed it/);
    const inMemory = new Database(':memory:');
    expect(message(drizzleSqlite(inMemory))).toMatch(/no other connection can see it/);
    inMemory.close();
  });

  it('B90 fromDrizzle() gets the database that Nest injects into sqlStore()', async () => {
    const app = await NestFactory.createApplicationContext(
      {
        module: class Application {},
        imports: [
          {
            module: class Databases {},
            providers: [{ provide: 'DB', useValue: db }],
            exports: ['DB'],
          },
          LockModule.forRoot({ store: sqlStore({ inject: ['DB'], executor: fromDrizzle }) }),
        ],
      },
      { logger: false, abortOnError: false },
    );
    expect(await app.get(LockService).run('injected', async (lock) => lock.held)).toBe(true);
    await app.close();
  });
});

for (const { name, open } of targetsAmong('postgres', 'mysql'))
  describe(`fromDrizzle() on ${name}`, () => {
    let target: Target;
    beforeAll(async () => void (target = await open()));
    afterAll(() => target.dispose());

    const locks = async (db: DrizzleDatabase): Promise<void> => {
      const store = new SqlLockStore(fromDrizzle(db));
      expect(await store.acquire('key', 'owner', 60_000)).toMatchObject({ acquired: true });
      expect(await store.release('key', 'owner')).toBe(true);
      await store.close();
    };

    if (name === 'postgres') {
      it('B90 fromDrizzle() takes a database made from a URL, and a database with replicas', async () => {
        const { host, port, user, password, database } = serverOf(target);
        const url = `postgres://${user}:${password}@${host}:${port}/${database}`;
        const ofUrl = drizzlePg(url);
        await locks(ofUrl);
        expect(fromDrizzle(ofUrl)).toMatchObject({
          client: 'Drizzle',
          type: 'postgres',
          description: `postgres at ${host}:${port}, database ${database}`,
        });
        await locks(withReplicas(ofUrl, [drizzlePg(new Pool())]));
        await ofUrl.$client.end();
      });
    } else {
      it('B90 fromDrizzle() takes a pool of mysql2 with callbacks, and a database made from options', async () => {
        const pool = createPool(serverOf(target));
        const db = drizzleMysql(pool);
        await locks(db);
        const { host, port, database } = serverOf(target);
        expect(fromDrizzle(db)).toMatchObject({
          client: 'Drizzle',
          type: 'mysql',
          schema: database,
          description: `mysql at ${host}:${port}, database ${database}`,
        });
        pool.end();
        const ofOptions = drizzleMysql({ connection: serverOf(target) });
        await locks(ofOptions);
        ofOptions.$client.end();
      });
    }
  });
