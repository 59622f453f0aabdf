// A process that holds a lock as long as possible and writes rows under it, each with the
// fencing token. argv: the DataSource options as JSON, the ttl, and `guarded` or `unguarded`.
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { LockModule, LockService } from 'nestjs-locked';
import { typeOrmStore } from 'nestjs-locked/typeorm';

const [options, ttl, mode] = process.argv.slice(2);
const app = await NestFactory.createApplicationContext(
  {
    module: class WriterModule {},
    imports: [
      TypeOrmModule.forRoot(JSON.parse(options)),
      LockModule.forRoot({ store: typeOrmStore(), ttl: Number(ttl), renewEvery: Number(ttl) / 4 }),
    ],
  },
  { logger: false },
);
const locks = app.get(LockService);
const database = app.get(getDataSourceToken());
const pause = () => sleep(Math.random() * 15);

const transaction = {
  guarded: (lock, work) => lock.transaction(work),
  // Most applications check the lock before they begin the transaction, as this function does.
  unguarded: (lock, work) => {
    lock.assertHeld();
    return database.transaction(work);
  },
}[mode];

const write = (lock) =>
  transaction(lock, async (manager) => {
    await pause();
    await manager.query(`INSERT INTO written (id, token) VALUES ('${randomUUID()}', ${lock.fencingToken})`);
    await pause();
  });

for (;;) {
  process.send({ event: 'waiting' });
  const lock = await locks.tryAcquire('frozen-writers', { wait: '1m' }).catch(() => null);
  if (!lock) continue;
  const { fencingToken: token } = lock;
  while (lock.held) {
    await pause();
    try {
      await write(lock);
      process.send({ event: 'committed', token });
    } catch (error) {
      process.send({ event: 'refused', token, error: `${error.name}: ${error.message}` });
    }
  }
}
