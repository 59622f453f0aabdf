import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import Database from 'better-sqlite3';
import { createConnection, createPool, createPoolCluster } from 'mysql2';
import { createPool as createPromisePool } from 'mysql2/promise';
import { Client, Pool } from 'pg';
import { DataSource } from 'typeorm';
import { LockError } from '../../../lib/lock.errors.js';
import { fromBetterSqlite3, fromMysql2, fromPg, SqlLockStore } from '../../../lib/stores/sql/index.js';

const URL_OF_A_DATABASE = 'postgres://app:pass%2Fword@db.example:6432/orders';
const folder = mkdtempSync(join(tmpdir(), 'nestjs-locked-driver-'));
const file = join(folder, 'app.sqlite');
const opened: { end?(): unknown; close?(): unknown }[] = [];
const kept = <T extends object>(one: T): T => (opened.push(one), one);
afterAll(async () => {
  for (const one of opened) await (one.end ? one.end() : one.close?.());
  rmSync(folder, { recursive: true });
});

// None of these pools opens a connection, because the tests send nothing.
const clients = {
  'a pool of pg': kept(new Pool()),
  'a client of pg': new Client(),
  'a pool of mysql2': kept(createPool({})),
  'a pool cluster of mysql2': kept(createPoolCluster()),
  'a database of better-sqlite3': kept(new Database(file)),
  'a DataSource of TypeORM': new DataSource({ type: 'postgres' }),
  'a promise: await it': Promise.resolve(new Pool()),
  'a text': URL_OF_A_DATABASE,
  'an object of the class URL': new URL(URL_OF_A_DATABASE),
  'another object': { host: 'localhost', password: 'secret' },
  'a function': () => new Pool(),
  undefined,
  null: null,
};

/** Returns the message of the refusal, which must not contain the value itself. */
function refusalOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(LockError);
    const { message } = error as Error;
    expect(message).not.toMatch(/secret|pass%2Fword|db\.example/);
    return message;
  }
  throw new Error('it was taken');
}

describe.each([
  ['fromPg', fromPg as (value: any) => unknown, 'a pool of pg'],
  ['fromMysql2', fromMysql2 as (value: any) => unknown, 'a pool of mysql2'],
  ['fromBetterSqlite3', fromBetterSqlite3 as (value: any) => unknown, 'a database of better-sqlite3'],
] as const)('%s', (name, from, taken) => {
  it.each(Object.entries(clients).filter(([kind]) => kind !== taken))(
    `B90 ${name} refuses %s, and names what it got`,
    (kind, value) => {
      if (name === 'fromBetterSqlite3' && kind === 'a text')
        return expect(refusalOf(() => from(value))).toContain('got a URL');
      expect(refusalOf(() => from(value))).toContain(`${name}() needs`);
      expect(refusalOf(() => from(value))).toContain(`but it got ${kind}`);
    },
  );
});

describe('descriptions and limits of fromPg()', () => {
  const environment = { ...process.env };
  afterEach(() => void (process.env = { ...environment }));

  it('B90 fromPg() refuses a pool that the application has ended', async () => {
    const pool = new Pool();
    await pool.end();
    expect(refusalOf(() => fromPg(pool))).toContain('ended');
  });

  it.each([
    ['a URL', { connectionString: URL_OF_A_DATABASE }, 'postgres at db.example:6432, database orders'],
    ['options', { host: 'a', port: 1, user: 'u', database: 'd' }, 'postgres at a:1, database d'],
    ['a socket', { host: '/run/pg', database: 'd' }, 'postgres at /run/pg:5432, database d'],
    ['the name of a user', { host: 'a', user: 'u' }, 'postgres at a:5432, database u'],
  ])(
    'B90 fromPg() describes a server given by %s as pg does, without a secret',
    (_, options, description) => {
      delete process.env.PGDATABASE;
      const password = 'secret';
      expect(fromPg(new Pool({ password, ...options })).description).toBe(description);
    },
  );

  it('B90 fromPg() describes the server in the environment variables', () => {
    Object.assign(process.env, { PGHOST: 'h', PGPORT: '7', PGDATABASE: 'd', PGPASSWORD: 'secret' });
    expect(fromPg(new Pool()).description).toBe('postgres at h:7, database d');
  });

  it('B90 fromPg() describes a server with a malformed URL', () => {
    const pool = new Pool({ connectionString: 'postgres://app:secret/word@h/d' });
    expect(fromPg(pool).description).toBe('postgres at localhost');
  });

  it('B90 fromPg() knows the size of the pool', () => {
    expect([fromPg(new Pool()), fromPg(new Pool({ max: 3 }))].map(({ poolSize }) => poolSize)).toEqual([
      10, 3,
    ]);
  });
});

describe('descriptions and limits of fromMysql2()', () => {
  it('B90 fromMysql2() refuses a pool that the application has ended', async () => {
    const pool = createPromisePool({});
    await pool.end();
    expect(refusalOf(() => fromMysql2(pool))).toContain('ended');
  });

  it('B90 fromMysql2() refuses a single connection, and a server of a cluster', async () => {
    const connection = createConnection({ host: '127.0.0.1', port: 1 });
    connection.on('error', () => undefined);
    expect(refusalOf(() => fromMysql2(connection as never))).toContain('got a connection of mysql2');
    connection.destroy();
    const cluster = kept(createPoolCluster());
    cluster.add('writer', { host: '127.0.0.1' });
    expect(refusalOf(() => fromMysql2(cluster.of('writer') as never))).toContain(
      'for a cluster, make a pool for its writer',
    );
  });

  it.each([
    ['a URL', 'mysql://app:secret@db.example:3307/orders', 'mysql at db.example:3307, database orders'],
    ['options', { host: 'a', port: 1, password: 'secret', database: 'd' }, 'mysql at a:1, database d'],
    ['a socket', { socketPath: '/run/my', database: 'd' }, 'mysql at /run/my:3306, database d'],
  ])(
    'B90 fromMysql2() describes a server given by %s without a secret, and its database becomes the schema',
    (_, options, description) => {
      for (const create of [createPool, createPromisePool]) {
        const executor = fromMysql2(kept(create(options as never)) as never);
        expect(executor.description).toBe(description);
        expect(description).toContain(String(executor.schema));
      }
    },
  );

  it('B90 fromMysql2() knows the size of a pool with and without a limit', () => {
    const sizes = [{}, { connectionLimit: 3 }, { connectionLimit: 0 }].map(
      (options) => fromMysql2(kept(createPool(options))).poolSize,
    );
    expect(sizes).toEqual([10, 3, 10]);
  });
});

describe('files of fromBetterSqlite3()', () => {
  it.each([
    ['a database in memory', () => new Database(':memory:')],
    ['a temporary database', () => new Database('')],
    ['a database of a buffer', () => new Database(new Database(file).serialize())],
    ['the path of a database in memory', () => ':memory:'],
    ['an empty path', () => ''],
  ])('B90 fromBetterSqlite3() refuses %s, because no other connection can see it', (_, open) => {
    expect(refusalOf(() => fromBetterSqlite3(open()))).toMatch(/no other connection can see it.*memoryStore/);
  });

  it('B90 fromBetterSqlite3() refuses a closed or read-only database', () => {
    expect(refusalOf(() => fromBetterSqlite3(new Database(file).close()))).toContain('has closed it');
    expect(refusalOf(() => fromBetterSqlite3(new Database(file, { readonly: true })))).toContain('read-only');
  });

  it('B90 the store still uses the same file after the process has changed its working directory', async () => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      const executors = [fromBetterSqlite3('app.sqlite'), fromBetterSqlite3(new Database('app.sqlite'))];
      process.chdir(before);
      const [one, two] = executors.map((executor) => new SqlLockStore(executor)) as [
        SqlLockStore<never>,
        SqlLockStore<never>,
      ];
      expect(await one.acquire('key', 'one', 60_000)).toMatchObject({ acquired: true });
      expect(await two.acquire('key', 'two', 60_000)).toMatchObject({ acquired: false, reason: 'held' });
      for (const store of [one, two]) {
        expect(store.describe()).toBe(
          'store=better-sqlite3 client=better-sqlite3 table=locks without=wakeUps',
        );
        await store.close();
      }
    } finally {
      process.chdir(before);
    }
  });

  it('B90 an error names an open transaction of the application that blocks the file', async () => {
    const database = kept(new Database(file));
    const store = new SqlLockStore(fromBetterSqlite3(database));
    await store.prepare();
    database.exec('BEGIN IMMEDIATE');
    await expect(store.acquire('busy', 'o', 60_000, { timeout: 400 })).rejects.toMatchObject({
      name: 'LockStoreError',
      transient: true,
      message: expect.stringContaining("application's own connection has an open transaction"),
    });
    database.exec('ROLLBACK');
    await store.close();
    expect(database.open).toBe(true);
  });

  it('B91 lock.transaction() is refused, and the error names the alternative', async () => {
    const store = new SqlLockStore(fromBetterSqlite3(file));
    await expect(store.transaction(async () => undefined)).rejects.toMatchObject({
      name: 'LockError',
      message: expect.stringMatching(/transactions of better-sqlite3 are synchronous.*fencing token/),
    });
    await store.close();
  });

  it('B90 a missing folder fails the start, and the error names the file', async () => {
    const store = new SqlLockStore(fromBetterSqlite3(join(folder, 'missing', 'app.sqlite')));
    await expect(store.prepare()).rejects.toMatchObject({
      name: 'LockStoreError',
      message: expect.stringContaining(join('missing', 'app.sqlite')),
    });
  });
});
