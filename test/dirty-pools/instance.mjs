// One of the processes of dirty-pools.mjs: an application on the built package. It reads its
// settings as JSON from argv.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { LockModule, LockService } from 'nestjs-locked';
import { typeOrmStore } from 'nestjs-locked/typeorm';
import { DataSource } from 'typeorm';

const { options, locks, keys } = JSON.parse(process.argv[2]);
const POOL_SIZE = 6;
/** How many connections of the pool `leaveDirty` leaves dirty at once. */
const LEFT_DIRTY = POOL_SIZE / 3;

const LEFT =
  options.type === 'postgres'
    ? [
        ['START TRANSACTION'],
        ['START TRANSACTION', 'SELECT 1/0'],
        ['SET search_path TO elsewhere'],
        ['SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ', 'BEGIN', 'SELECT 1'],
      ]
    : [
        ['START TRANSACTION'],
        ['SET autocommit = 0'],
        ['USE information_schema'],
        ['SET timestamp = UNIX_TIMESTAMP() + 3600'],
      ];

const app = await NestFactory.createApplicationContext(
  {
    module: class DirtyPool {},
    imports: [
      TypeOrmModule.forRoot({ ...options, poolSize: POOL_SIZE, logging: false, retryAttempts: 0 }),
      LockModule.forRoot({ store: typeOrmStore(), ttl: '10s', retry: { min: 5, max: 50 } }),
    ],
  },
  { logger: false, abortOnError: false },
);
const service = app.get(LockService);
const application = app.get(getDataSourceToken());
/**
 * Counts the holders of a key through a pool of its own, whose connections are never dirty.
 */
const witness = await new DataSource({ ...options, poolSize: 2 }).initialize();
const failures = [];
let left = 0;
let granted = 0;
let closed = 0;
const pool = application.driver.master ?? application.driver.pool;
pool.on(application.driver.master ? 'connect' : 'connection', () => closed++);

process.send({ ready: true });
await new Promise((resolve) => process.once('message', resolve));
await Promise.all(keys.map((key, i) => work(key, share(i))));
process.send({ granted, left, connections: closed, failures: failures.slice(0, 20) });
await app.close();
await witness.destroy();
process.disconnect();

/** Takes and releases the key `times` times. */
async function work(key, times) {
  for (let i = 0; i < times; i++) {
    await leaveDirty();
    try {
      await service.run(key, () => enter(key), { wait: '60s' });
      granted++;
    } catch (error) {
      failures.push(`${error.name}: ${error.message}`);
    }
  }
}

function share(i) {
  return Math.floor(locks / keys.length) + (i < locks % keys.length ? 1 : 0);
}

/**
 * Leaves connections dirty, like an application that forgets to end a transaction or to reset
 * a setting.
 */
async function leaveDirty() {
  if (application.isInitialized && Math.random() > 0.5) return;
  const runners = Array.from({ length: LEFT_DIRTY }, () => application.createQueryRunner());
  for (const runner of runners) {
    await runner.connect();
    // Errors are ignored, because one of the statements fails on purpose.
    for (const sql of LEFT[left++ % LEFT.length]) await runner.query(sql).catch(() => {});
  }
  for (const runner of runners) await runner.release();
}

async function enter(key) {
  const before = await change(key, 'inside + 1');
  if (before !== 1) failures.push(`"${key}" has ${before} holders`);
  await change(key, 'inside - 1');
}

async function change(key, inside) {
  const mark = options.type === 'postgres' ? '$1' : '?';
  await witness.query(`UPDATE dirty_holders SET inside = ${inside} WHERE name = ${mark}`, [key]);
  const [row] = await witness.query(`SELECT inside FROM dirty_holders WHERE name = ${mark}`, [key]);
  return Number(row.inside);
}
