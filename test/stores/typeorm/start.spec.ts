import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Module } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { Test, type TestingModule } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { createServer, type AddressInfo } from 'node:net';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { describeDataSource } from '../../../lib/stores/executors/typeorm-executor.js';
import {
  lockTableMigration,
  TypeOrmLockStore,
  typeOrmStore,
  type TypeOrmStoreOptions,
} from '../../../lib/stores/typeorm/index.js';
import { openTarget, sqlTargets, type Target } from '../../servers/targets.js';
import { targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const SECRET = 'hunter2-is-secret';

/** Returns a DataSource whose server answers every query with these rows. */
function answering(type: string, rows: object[], connection: object = {}): DataSource {
  const raw = {
    query: (_: any, callback?: any) =>
      callback ? callback(null, rows, []) : Promise.resolve({ rows, fields: [] }),
    execute: (_: any, callback: any) => callback(null, rows, []),
    on: () => undefined,
    destroy: () => undefined,
    end: async () => undefined,
    ...connection,
  };
  return {
    options: { type, host: 'db.example', database: 'app', password: SECRET },
    isInitialized: true,
    createQueryRunner: () => ({ connect: async () => raw, release: async () => undefined }),
  } as unknown as DataSource;
}

describe('databases that cannot keep locks', () => {
  it.each([
    'cockroachdb',
    'aurora-mysql',
    'aurora-postgres',
    'mssql',
    'oracle',
    'sqljs',
    'mongodb',
    'spanner',
  ])('B8 %s is refused, and the error names the supported databases', async (type) => {
    await expect(new TypeOrmLockStore(answering(type, [])).prepare()).rejects.toMatchObject({
      name: 'LockStoreError',
      message: expect.stringMatching(new RegExp(`${type}.*postgres, mysql, mariadb and better-sqlite3`)),
    });
  });

  it.each([
    ['postgres', 'PostgreSQL 11.22 on x86_64-pc-linux-gnu', /PostgreSQL 12/],
    ['postgres', 'CockroachDB CCL v23.1.0', /PostgreSQL 12/],
    ['postgres', 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, Redshift 1.0', /PostgreSQL 12/],
    ['mysql', '5.5.62', /MySQL 5\.6/],
    ['mysql', '8.0.11-TiDB-v7.5.0', /TiDB/],
    ['mysql', '10.2.44-MariaDB', /MariaDB 10\.3/],
    ['mariadb', '5.5.68-MariaDB', /MariaDB 10\.3/],
  ])('B8 %s with the version %s is refused', async (type, version, message) => {
    const store = new TypeOrmLockStore(answering(type, [{ version, autocommit: 1 }]));
    await expect(store.prepare()).rejects.toMatchObject({
      name: 'LockStoreError',
      message: expect.stringMatching(message),
    });
  });

  it('B8 a MySQL with autocommit off is refused', async () => {
    const store = new TypeOrmLockStore(answering('mysql', [{ version: '8.4.0', autocommit: 0 }]));
    await expect(store.prepare()).rejects.toThrow(/autocommit/);
  });

  it('B8 the package mysql is refused, and the error names mysql2', async () => {
    const store = new TypeOrmLockStore(
      answering('mysql', [{ version: '8.4.0', autocommit: 1 }], { execute: undefined }),
    );
    await expect(store.prepare()).rejects.toThrow(/Install mysql2/);
  });

  it.each([':memory:', ''])(
    'B8 the SQLite database %j is refused, and the error gives the reason',
    async (database) => {
      const application = await new DataSource({ type: 'better-sqlite3', database }).initialize();
      await expect(new TypeOrmLockStore(application).prepare()).rejects.toThrow(
        /need a database file.*no other connection/,
      );
      await application.destroy();
    },
  );

  it('B8 a DataSource that the application has not initialized is refused', async () => {
    const application = new DataSource({ type: 'better-sqlite3', database: 'never-opened.sqlite' });
    await expect(new TypeOrmLockStore(application).prepare()).rejects.toThrow(/not initialized/);
    expect(application.isInitialized).toBe(false);
  });
});

describe('typeOrmStore()', () => {
  let target: Target;
  let module: TestingModule | undefined;

  const application = async (...imports: any[]) => {
    @Module({ imports })
    class Application {}
    module = await Test.createTestingModule({ imports: [Application] }).compile();
    await module.init();
    return make({});
  };
  const make = async (options: TypeOrmStoreOptions) =>
    (await typeOrmStore(options).useFactory(module?.get(ModuleRef))) as TypeOrmLockStore;

  beforeAll(async () => void (target = await openTarget('sqlite')));
  afterAll(() => target.dispose());
  afterEach(async () => {
    await module?.close();
    module = undefined;
  });

  it("B8 the store finds the application's unnamed DataSource", async () => {
    const store = await application(TypeOrmModule.forRoot(target.options));
    await store.prepare();
    expect(store.describe()).toBe('store=better-sqlite3 client=TypeORM table=locks without=wakeUps');
    await store.close();
  });

  it('B8 the store finds a named DataSource', async () => {
    await application(TypeOrmModule.forRoot({ ...target.options, name: 'locking' }));
    const store = await make({ dataSource: 'locking', table: 'named' });
    tokenOf(await store.acquire(newKey(), 'o', 1000));
    await store.close();
  });

  it('B8 a missing DataSource fails with an error that names the next step', async () => {
    await application(TypeOrmModule.forRoot(target.options));
    const store = await make({ dataSource: 'elsewhere' });
    await expect(store.prepare()).rejects.toMatchObject({
      name: 'LockError',
      message: expect.stringMatching(/no DataSource "elsewhere".*TypeOrmModule\.forRoot.*connection/),
    });
  });

  it('B13 the store opens a DataSource of its own from connection options, and closes it', async () => {
    const opened = jest.spyOn(DataSource.prototype, 'initialize');
    const store = await make({ connection: target.options });
    expect(opened).not.toHaveBeenCalled();
    await store.prepare();
    tokenOf(await store.acquire(newKey(), 'o', 1000));
    const own = opened.mock.contexts[0] as DataSource;
    expect(own.isInitialized).toBe(true);
    await store.close();
    expect(own.isInitialized).toBe(false);
    opened.mockRestore();
  });

  it('B13 the store closes its own DataSource when its start fails because the table is missing', async () => {
    const opened = jest.spyOn(DataSource.prototype, 'initialize');
    const store = await make({ connection: target.options, table: 'nowhere', autoCreate: false });
    await expect(store.prepare()).rejects.toThrow(/nowhere is missing/);
    expect((opened.mock.contexts[0] as DataSource).isInitialized).toBe(false);
    opened.mockRestore();
  });

  it('B8 the options dataSource and connection exclude each other', () => {
    // @ts-expect-error the types do not allow dataSource and connection together
    expect(() => typeOrmStore({ dataSource: 'a', connection: { type: 'mysql' } })).toThrow(
      /exclude each other/,
    );
    expect(() => typeOrmStore({ dataSource: {} as any })).toThrow(/new TypeOrmLockStore\(dataSource\)/);
  });

  it('B8 an unknown option is refused, and the error lists the known ones', () => {
    const message =
      /typeOrmStore\(\) does not know the option "tabel"\. It takes: dataSource, connection, table, schema, autoCreate/;
    expect(() => typeOrmStore({ tabel: 'x' } as object)).toThrow(message);
    expect(() => typeOrmStore({ autoCreate: 'yes' } as object)).toThrow(/autoCreate must be true or false/);
    expect(() => lockTableMigration({ tabel: 'x' } as object)).toThrow(/does not know the option "tabel"/);
    expect(() => TypeOrmLockStore.ddl('postgres', { tabel: 'x' } as object)).toThrow(/"tabel"/);
  });

  it.each([null, 'postgres://app@db/app', {}, []])('B8 %p is refused as connection options', (connection) => {
    expect(() => typeOrmStore({ connection } as object)).toThrow(
      /connection must be the options of a TypeORM DataSource/,
    );
  });

  it.each([undefined, null, { type: 'postgres' }, 'app'])(
    'B8 %p is refused as a DataSource',
    (dataSource) => {
      expect(() => new TypeOrmLockStore(dataSource as never)).toThrow(/needs a DataSource of TypeORM/);
    },
  );

  it('B10 an error shows no part of a password in the path of a URL', () => {
    const options = { type: 'postgres', url: 'postgres://user:12/hunter2@127.0.0.1:1/db' };
    expect(describeDataSource(options)).not.toContain('hunter2');
  });

  it('B8 the constructor of the store refuses an unknown option too', () => {
    const database = { createQueryRunner: () => undefined } as unknown as DataSource;
    expect(() => new TypeOrmLockStore(database, { tabel: 'x' } as object)).toThrow(
      /It takes: table, schema, autoCreate/,
    );
  });
});

for (const target of sqlTargets())
  describe(`closing a store on ${target.name}`, () => {
    it("B13 a closed store takes no more locks, and leaves the application's DataSource open", async () => {
      const database = await target.open();
      const application = await new DataSource(database.options).initialize();
      const store = new TypeOrmLockStore(application);
      await store.prepare();
      await store.close();
      expect(await application.query('SELECT 1 AS one')).toHaveLength(1);
      await expect(store.acquire('k', 'o', 1000)).rejects.toThrow(/is closed/);
      await store.prepare(); // A closed store opens again with prepare().
      tokenOf(await store.acquire('k', 'o', 60_000));
      await store.close();
      await application.destroy();
      await database.dispose();
    });
  });

for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe(`a ${target.name} server that cannot be used`, () => {
    let database: Target;
    beforeAll(async () => void (database = await target.open()));
    afterAll(() => database.dispose());

    const failure = async (options: object): Promise<any> => {
      const definition = typeOrmStore({
        connection: { ...database.options, ...options } as DataSourceOptions,
      });
      const store = (await definition.useFactory()) as TypeOrmLockStore;
      return store.prepare().catch((error: unknown) => error);
    };
    const texts = (error: any): string => `${error} ${error.message} ${error.stack} ${JSON.stringify(error)}`;

    it('B10 the error names host, port and database, and hides the password', async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      // No server listens on this port now.
      await new Promise((resolve) => server.close(resolve));
      const { type, database: name } = database.options as any;
      for (const options of [
        { port, password: SECRET },
        { url: `${type}://someone:${SECRET}@127.0.0.1:${port}/${name}` },
      ]) {
        const error = await failure(options);
        expect(error).toMatchObject({
          name: 'LockStoreError',
          transient: true,
          cause: { code: 'ECONNREFUSED' },
        });
        expect(error.message).toContain(`127.0.0.1:${port}, database ${name}`);
        expect(texts(error)).not.toContain(SECRET);
      }
    });

    it('B10 the error names the missing database', async () => {
      const error = await failure({ database: 'no_such_database' });
      expect(error).toMatchObject({
        name: 'LockStoreError',
        message: expect.stringContaining('no_such_database'),
      });
    });

    if (target.name !== 'postgres')
      it('B10 the error hides the password that the server refused', async () => {
        const error = await failure({ password: SECRET });
        expect(error).toMatchObject({ name: 'LockStoreError', transient: false });
        expect(texts(error)).not.toContain(SECRET);
      });
  });
