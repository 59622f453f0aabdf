// Starts two instances of a small application on one database, as users would write it, and
// checks that only one job runs at a time. Then it starts an application with two lock modules
// on MongoDB, one through Mongoose and one through the driver alone.
import 'reflect-metadata';
import { strict as assert } from 'node:assert';
import { Injectable, Module, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getConnectionToken, MongooseModule } from '@nestjs/mongoose';
import { Cron, Interval, ScheduleModule } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { MongoClient, type ClientSession } from 'mongodb';
import type { Connection } from 'mongoose';
import {
  getLockServiceToken,
  LockContext,
  Locked,
  LockLostError,
  LockModule,
  LockNotAcquiredError,
  LockAdmin,
  LockService,
} from 'nestjs-locked';
import { mongooseStore, mongoStore } from 'nestjs-locked/mongodb';
import { LockTestingModule } from 'nestjs-locked/testing';
import { typeOrmStore } from 'nestjs-locked/typeorm';

const runs: { instance: number; token: number; overlaps: boolean }[] = [];
/** The seconds in which the cron job `beat` ran. */
const seconds: number[] = [];
let running = 0;
let instances = 0;
let enough: () => void;
const ranEnough = new Promise<void>((resolve) => (enough = resolve));
let enoughSeconds: () => void;
const beatEnough = new Promise<void>((resolve) => (enoughSeconds = resolve));

@Injectable()
class Jobs {
  private readonly instance = instances++;

  @Interval(50)
  @Locked()
  async report(): Promise<void> {
    running++;
    await new Promise((resolve) => setTimeout(resolve, 30));
    runs.push({
      instance: this.instance,
      token: LockContext.current()?.fencingToken ?? 0,
      overlaps: running > 1,
    });
    running--;
    if (runs.length >= 10) enough();
  }

  /**
   * Ends before the timers of the other instance fire, so only the check of ticks keeps it
   * from running twice.
   */
  @Cron('* * * * * *')
  @Locked()
  async beat(): Promise<void> {
    seconds.push(Math.floor((Date.now() + 100) / 1_000));
    if (seconds.length >= 3) enoughSeconds();
  }

  @Locked({ key: (order: string) => `order:${order}` })
  async ship(order: string, work: () => Promise<void>): Promise<string> {
    await work();
    return `shipped ${order}`;
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'postgres', url: process.env.DATABASE_URL }),
    ScheduleModule.forRoot(),
    LockModule.forRoot({ store: typeOrmStore(), ttl: '5s' }),
  ],
  providers: [Jobs],
})
class ApplicationModule {}

const client = new MongoClient(process.env.MONGODB_URL ?? '');

@Module({
  imports: [
    MongooseModule.forRoot(process.env.MONGODB_URL ?? '', { dbName: 'compat' }),
    LockModule.forRoot({ store: mongooseStore(), ttl: '5s' }),
    LockModule.forRoot({ name: 'driver', store: mongoStore({ client, databaseName: 'compat' }), ttl: '5s' }),
  ],
})
class MongoApplicationModule {}

async function onMongo(): Promise<void> {
  const application = await NestFactory.createApplicationContext(MongoApplicationModule, {
    logger: ['error'],
  });
  const [byMongoose, byDriver] = [
    application.get(LockService),
    application.get<LockService>(getLockServiceToken('driver')),
  ];
  const connection = application.get<Connection>(getConnectionToken());
  const orders = client.db('compat').collection<{ _id: number }>('orders');
  await orders.insertOne({ _id: 0 });

  const lock = await byDriver.acquire('order');
  // Both modules use one collection, so they share the lock.
  await assert.rejects(byMongoose.acquire('order'), LockNotAcquiredError);
  await lock.transaction(async (session: ClientSession) => orders.insertOne({ _id: 1 }, { session }));
  await assert.rejects(
    lock.transaction(async (session: ClientSession) => {
      await orders.insertOne({ _id: 2 }, { session });
      await byMongoose.admin.forceRelease('order', { reason: 'to see that nothing is committed' });
    }),
    LockLostError,
  );
  await byMongoose.run('order', async (held) => {
    await connection.transaction(async (session) => {
      await connection.collection('orders').insertOne({ n: 3 }, { session });
      await held.guard(session);
    });
  });
  assert.equal(await orders.countDocuments(), 3);

  await application.close();
  // The client stays open, since the application made it and passed it in.
  await client.db('compat').dropDatabase();
  await client.close();
  console.log('locks and transactions on MongoDB');
}

async function main(): Promise<void> {
  await onMongo();
  const [first, second] = await Promise.all([start(), start()]);

  await first.get(Jobs).ship('7', async () => {
    assert.equal(await second.get(LockAdmin).isLocked('order:7'), true);
    await assert.rejects(
      second.get(Jobs).ship('7', async () => {}),
      LockNotAcquiredError,
    );
    assert.equal(await second.get(Jobs).ship('8', async () => {}), 'shipped 8');
  });
  assert.equal(await second.get(Jobs).ship('7', async () => {}), 'shipped 7');

  await ranEnough;
  await beatEnough;
  assert.deepEqual(seconds, [...new Set(seconds)], 'each second runs once in both instances');
  // After this pause the third run has ended, and the fourth has not begun.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = seconds.length;
  // A call by hand runs every time, since it has no tick.
  for (let i = 0; i < 2; i++) await first.get(Jobs).beat();
  assert.ok(seconds.length >= before + 2);
  assert.deepEqual(
    runs.filter(({ overlaps }) => overlaps),
    [],
    'no two runs overlap',
  );
  const tokens = runs.map(({ token }) => token);
  assert.deepEqual(
    tokens,
    [...new Set(tokens)].toSorted((a, b) => a - b),
    'each run has a greater token',
  );
  await Promise.all([first.close(), second.close()]);

  const testing = await NestFactory.createApplicationContext(LockTestingModule.forRoot(), {
    logger: ['error'],
  });
  assert.equal(await testing.get(LockService).run('key', () => 'ran'), 'ran');
  await testing.close();
  console.log(`two instances took turns: ${runs.length} runs, none at once`);
}

function start(): Promise<INestApplicationContext> {
  return NestFactory.createApplicationContext(ApplicationModule, { logger: ['error'] });
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
