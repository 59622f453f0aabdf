import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { INestApplication, ModuleMetadata, Type } from '@nestjs/common';
import { ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { Test } from '@nestjs/testing';
import { CronTime } from 'cron';
import { Client, Pool } from 'pg';
import { DataSource } from 'typeorm';
import { LockAdmin, LockLostError, LockModule, LockService, memoryStore } from '../../lib/index.js';
import { fromBetterSqlite3, fromPg, sqlStore } from '../../lib/stores/sql/index.js';
import { runsByTick, runThreeInstances } from '../../scripts/readme/instances.mjs';
import { openMongoDatabase, selectedStores, type Target } from '../servers/targets.js';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { completeFiles, PastedFiles, recipe } from './complete-files.js';

const pasted = new PastedFiles();
const isTest = ({ name }: { name: string }) => name.endsWith('.spec.ts');

// Test files in the documentation: their tests run as tests of this file.
for (const file of completeFiles.filter(isTest)) describe(file.where, await testsOf(file.where));

async function testsOf(where: string): Promise<() => void> {
  const file = completeFiles.find((other) => other.where === where)!;
  const registered: (() => void)[] = [];
  const { describe: block, it: test } = globalThis as any;
  Object.assign(globalThis, {
    describe: (...args: unknown[]) => registered.push(() => block(...args)),
    it: (...args: unknown[]) => registered.push(() => test(...args)),
  });
  await pasted.import(file);
  Object.assign(globalThis, { describe: block, it: test });
  return () => registered.forEach((register) => register());
}

for (const target of targetsAmong('postgres', 'sqlite'))
  describe(`the recipes of the README on ${target.name}`, () => {
    const applications: INestApplication[] = [];
    let database: Target;

    beforeAll(async () => {
      database = await target.open();
    });

    afterEach(async () => {
      for (const app of applications.splice(0)) await app.close();
    });

    afterAll(async () => {
      await database.dispose();
    });

    async function start(parts: {
      providers?: unknown[];
      controllers?: unknown[];
    }): Promise<INestApplication> {
      const pool = target.name === 'postgres' ? new Pool({ connectionString: urlOf(database) }) : undefined;
      const executor = pool ? fromPg(pool) : fromBetterSqlite3(database.options.database as string);
      const module = await Test.createTestingModule({
        imports: [ScheduleModule.forRoot(), LockModule.forRoot({ store: sqlStore({ executor }) })],
        providers: [
          ...((parts.providers ?? []) as Type[]),
          { provide: 'pool', useValue: { onApplicationShutdown: () => pool?.end() } },
        ],
        controllers: (parts.controllers ?? []) as Type[],
      }).compile();
      const app = module.createNestApplication();
      applications.push(app);
      await app.listen(0, '127.0.0.1');
      return app;
    }

    it('B81 exactly one of two instances runs each tick of the cron job', async () => {
      const { ReportsJob } = await pasted.import(recipe('src/reports.job.ts'));
      const apps = [await start({ providers: [ReportsJob] }), await start({ providers: [ReportsJob] })];
      const events = apps.map((app) => app.get(LockService).events);
      const run = Promise.race(events.map((emitter) => once(emitter, 'released')));
      const refusal = Promise.race(events.map((emitter) => once(emitter, 'busy')));
      for (const app of apps)
        for (const job of app.get(SchedulerRegistry).getCronJobs().values())
          job.setTime(new CronTime('* * * * * *'));
      expect((await run)[0]).toMatchObject({ key: 'ReportsJob.build' });
      expect((await refusal)[0]).toMatchObject({ key: 'ReportsJob.build' });
    });

    it('B63 the HTTP handler answers 409 while another instance has the key', async () => {
      const { OrdersController } = await pasted.import(recipe('src/orders.controller.ts'));
      const app = await start({ controllers: [OrdersController] });
      const pay = async () => fetch(`${await app.getUrl()}/orders/7/payment`, { method: 'POST' });
      const elsewhere = await app.get(LockService).acquire('order:7');
      const refused = await pay();
      expect(refused.status).toBe(409);
      expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(await refused.json()).toEqual(answerInReadme());
      await elsewhere.release();
      expect(await (await pay()).json()).toEqual({ paid: '7' });
    });

    it('B15 the service waits until the other instance has finished, or names the instance at work', async () => {
      const rates = createServer((_, response) => response.end('1.09')).listen(0, '127.0.0.1');
      await once(rates, 'listening');
      process.env.RATES_URL = `http://127.0.0.1:${(rates.address() as AddressInfo).port}`;
      const { RatesService } = await pasted.import(recipe('src/rates.service.ts'));
      const app = await start({ providers: [RatesService] });
      const service = app.get(RatesService as Type);
      expect(await service.refreshIfFree()).toBe('1.09');
      const elsewhere = await app.get(LockService).acquire('rates', { label: 'pod-2' });
      expect(await service.refreshIfFree()).toMatch(/^pod-2 has been loading them since 20\d\d-/);
      const waiting = service.refresh();
      await elsewhere.release();
      expect(await waiting).toBe('1.09');
      rates.close();
      delete process.env.RATES_URL;
    });

    if (target.name === 'postgres')
      it('B91 an import that lost its lock commits nothing', async () => {
        const db = new Client({ connectionString: urlOf(database) });
        await db.connect();
        await db.query('CREATE TABLE imports (file text)');
        const { ImportsService } = await pasted.import(recipe('src/imports.service.ts'));
        const app = await start({ providers: [ImportsService] });
        const service = app.get(ImportsService as Type);
        await service.import('a');
        const acquired = once(app.get(LockService).events, 'acquired');
        const outcome = service.import('b').catch((error: unknown) => error);
        await acquired;
        await app.get(LockAdmin).forceRelease('import:b', { reason: 'the test takes it' });
        expect(await outcome).toBeInstanceOf(LockLostError);
        expect((await db.query('SELECT file FROM imports')).rows).toEqual([{ file: 'a' }]);
        await db.end();
      });
  });

for (const target of targetsAmong('postgres'))
  describe('complete files of the documentation', () => {
    let database: Target;

    beforeAll(async () => {
      database = await target.open();
      process.env.DATABASE_URL = urlOf(database);
    });

    afterAll(async () => {
      delete process.env.DATABASE_URL;
      await database.dispose();
    });

    it('B81 exactly one of three processes with the first example runs each tick', async () => {
      const until = (lines: { name: string; line: string }[]) => runsByTick(lines).size > 2;
      const lines = await runThreeInstances({ url: urlOf(database), locked: true, until });
      expect([...runsByTick(lines).values()].map((runs) => runs.length)).toEqual([1, 1, 1]);
    });

    const needsMongo = (code: string) => code.includes('nestjs-locked/mongodb');
    const runnable = completeFiles.filter(
      (file) => !isTest(file) && (!needsMongo(file.code) || selectedStores.includes('mongodb')),
    );

    it.each(runnable.map((file) => [`${file.where} ${file.name}`, file] as const))(
      '%s starts in an application',
      async (_, file) => {
        const mongo = needsMongo(file.code) ? openMongoDatabase() : undefined;
        process.env.MONGODB_URL = mongo?.url;
        process.env.MONGODB_DATABASE = mongo?.databaseName;
        const exported = Object.values(await pasted.import(file)).filter(
          (value): value is Type => typeof value === 'function' && /^class\b/.test(String(value)),
        );
        const app = await Test.createTestingModule(partsOf(exported)).compile();
        app.enableShutdownHooks();
        await app.init();
        await app.close();
        await mongo?.dispose();
      },
    );
  });

afterAll(() => pasted.remove());

/**
 * Returns an application around the exported classes. If none of them is a module, the
 * application gets locks and a database.
 */
function partsOf(exported: Type[]): ModuleMetadata {
  const module = exported.find(({ name }) => name === 'AppModule');
  if (module) return { imports: [module] };
  const isController = (type: Type) => Reflect.hasMetadata('path', type);
  const db = new DataSource({ type: 'postgres', url: process.env.DATABASE_URL! });
  return {
    imports: [ScheduleModule.forRoot(), LockModule.forRoot({ store: memoryStore() })],
    providers: [...exported.filter((type) => !isController(type)), { provide: DataSource, useValue: db }],
    controllers: exported.filter(isController),
  };
}

function urlOf({ options }: Target): string {
  const { host, port, username, password, database } = options as unknown as Record<string, string>;
  return `postgres://${username}:${password}@${host}:${port}/${database}`;
}

/** Returns the JSON answer that the README shows for a request whose key was busy. */
function answerInReadme(): unknown {
  const [json] = /^\{"statusCode":409.*\}$/m.exec(readFileSync('README.md', 'utf8')) ?? [];
  return JSON.parse(json ?? 'null');
}
