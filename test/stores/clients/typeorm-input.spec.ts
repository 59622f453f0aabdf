import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { Pool } from 'pg';
import { DataSource } from 'typeorm';
import { LockModule, LockService } from '../../../lib/index.js';
import { LockError } from '../../../lib/lock.errors.js';
import { fromTypeOrm, SqlLockStore, sqlStore } from '../../../lib/stores/sql/index.js';
import { openTarget, type Target } from '../../servers/targets.js';

describe('fromTypeOrm()', () => {
  let target: Target;
  let dataSource: DataSource;
  beforeAll(async () => {
    target = await openTarget('sqlite');
    dataSource = await new DataSource(target.options).initialize();
  });
  afterAll(async () => {
    if (dataSource.isInitialized) await dataSource.destroy();
    await target.dispose();
  });

  it.each<[string, () => unknown]>([
    ['undefined', () => undefined],
    ['null', () => null],
    ['a text', () => 'postgres://app:hunter2@db/app'],
    ['another object', () => ({ type: 'postgres', password: 'hunter2' })],
    ['a promise: await it', () => Promise.resolve(dataSource)],
    ['an EntityManager of TypeORM', () => dataSource.manager],
    ['a QueryRunner of TypeORM', () => dataSource.createQueryRunner()],
    ['a pool of pg', () => new Pool()],
  ])('B90 fromTypeOrm() refuses %s, and names what it got', (kind, given) => {
    expect(() => fromTypeOrm(given() as DataSource)).toThrow(
      new LockError(`fromTypeOrm() needs a DataSource of TypeORM, but it got ${kind}.`),
    );
  });

  it('B90 a store may be made with a DataSource that is not initialized, but cannot start before the DataSource is initialized', async () => {
    const later = new DataSource(target.options);
    const store = new SqlLockStore(fromTypeOrm(later));
    await expect(store.prepare()).rejects.toMatchObject({
      name: 'LockStoreError',
      message: expect.stringMatching(
        /DataSource is not initialized, or was destroyed. Call its initialize\(\)/,
      ),
      transient: true,
    });
    await later.initialize();
    await store.prepare();
    await store.close();
    expect(later.isInitialized).toBe(true);
    await later.destroy();
    await expect(new SqlLockStore(fromTypeOrm(later)).prepare()).rejects.toThrow(/was destroyed/);
  });

  it('B90 fromTypeOrm() gets the DataSource that Nest injects into sqlStore()', async () => {
    const app = await NestFactory.createApplicationContext(
      {
        module: class Application {},
        imports: [
          TypeOrmModule.forRoot(target.options),
          LockModule.forRoot({ store: sqlStore({ inject: [getDataSourceToken()], executor: fromTypeOrm }) }),
        ],
      },
      { logger: false, abortOnError: false },
    );
    expect(await app.get(LockService).run('injected', async (lock) => lock.held)).toBe(true);
    await app.close();
  });
});
