import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Inject, Injectable, Module, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { randomUUID } from 'node:crypto';
import { Pool } from 'pg';
import { LockModule, LockService } from '../../../lib/index.js';
import { fromPg, SqlLockStore, sqlStore } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { LocksStorage } from './locks-storage.js';

const PG_POOL = Symbol('PG_POOL');
const TTL = 60_000;

/** The class that docs/executors.md shows. */
@Injectable()
class AppLockStore extends SqlLockStore implements OnModuleInit, OnApplicationShutdown {
  constructor(@Inject(PG_POOL) pool: Pool, @Inject(LocksStorage) storage: LocksStorage) {
    super(fromPg(pool));
    storage.registerSource(this);
  }

  async onModuleInit(): Promise<void> {
    await this.prepare();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.close();
  }
}

for (const { open } of targetsAmong('postgres'))
  describe('the shared store of @nestjs/locks', () => {
    let target: Target;
    let pool: Pool;
    beforeAll(async () => {
      target = await open();
      const { host, port, username: user, password, database } = target.options as Record<string, any>;
      pool = new Pool({ host, port, user, password, database });
    });
    afterAll(async () => {
      await pool.end();
      await target.dispose();
    });

    it('B92 a SqlLockStore registers itself with @nestjs/locks, and excludes locks of LockModule in the same table', async () => {
      @Module({
        providers: [LocksStorage, { provide: PG_POOL, useFactory: () => pool }],
        exports: [LocksStorage, PG_POOL],
      })
      class Shared {}
      @Module({
        imports: [Shared, LockModule.forRoot({ store: sqlStore({ inject: [PG_POOL], executor: fromPg }) })],
        providers: [AppLockStore],
      })
      class Application {}
      const app = await NestFactory.createApplicationContext(Application, {
        logger: false,
        abortOnError: false,
      });
      const store = app.get(LocksStorage).source;
      expect(store).toBe(app.get(AppLockStore));

      const locks = app.get(LockService);
      const owner = randomUUID();
      const first = await store.acquire('exports', owner, TTL);
      expect(first).toEqual({ acquired: true, fencingToken: expect.any(Number) });
      expect(await locks.tryAcquire('exports')).toBeNull();
      expect(await store.acquire('exports', owner, TTL)).toMatchObject({ acquired: false });
      expect(await store.renew('exports', owner, TTL)).toBe(true);
      expect(await store.release('exports', owner)).toBe(true);
      await locks.run('exports', async () => {
        expect(await store.acquire('exports', randomUUID(), TTL)).toMatchObject({ acquired: false });
      });
      await app.close();
      expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    });
  });
