// Two instances of a small application on one database, as its users would write it: both start, and one job at a time runs.
import 'reflect-metadata';
import { strict as assert } from 'node:assert';
import { Injectable, Module, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Interval, ScheduleModule } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { LockContext, Locked, LockModule, LockNotAcquiredError, LockService } from 'nestjs-locked';
import { LockTestingModule } from 'nestjs-locked/testing';
import { typeOrmStore } from 'nestjs-locked/typeorm';

const runs: { instance: number; token: number; overlaps: boolean }[] = [];
let running = 0;
let instances = 0;
let enough: () => void;
const ranEnough = new Promise<void>((resolve) => (enough = resolve));

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

async function main(): Promise<void> {
  const [first, second] = await Promise.all([start(), start()]);

  await first.get(Jobs).ship('7', async () => {
    assert.equal(await second.get(LockService).isLocked('order:7'), true);
    await assert.rejects(
      second.get(Jobs).ship('7', async () => {}),
      LockNotAcquiredError,
    );
    assert.equal(await second.get(Jobs).ship('8', async () => {}), 'shipped 8');
  });
  assert.equal(await second.get(Jobs).ship('7', async () => {}), 'shipped 7');

  await ranEnough;
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
