// An instance of an application in a process of its own, which carries out the requests of its
// parent. argv: the DataSource options as JSON, a label, and the kind of locks.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { LockModule, LockService } from 'nestjs-locked';
import { typeOrmSessionStore, typeOrmStore } from 'nestjs-locked/typeorm';

const options = JSON.parse(process.argv[2]);
const app = await NestFactory.createApplicationContext(
  {
    module: class InstanceModule {},
    imports: [
      TypeOrmModule.forRoot(options),
      LockModule.forRoot({
        ...(process.argv[4] === 'session'
          ? { store: typeOrmSessionStore() }
          : { store: typeOrmStore(), ttl: '1s' }),
        label: process.argv[3],
      }),
    ],
  },
  { logger: ['error'] },
);
app.enableShutdownHooks();
const locks = app.get(LockService);
const database = app.get(getDataSourceToken());
const held = new Map();

locks.events.on('lost', ({ key }) => process.send({ event: 'lost', key }));

const actions = {
  async acquire({ key, ...acquireOptions }) {
    const lock = await locks.acquire(key, acquireOptions);
    held.set(key, lock);
    return { fencingToken: lock.fencingToken };
  },
  release: ({ key }) => held.get(key).release(),
  inspect: ({ key }) => locks.admin.inspect(key),
  held: ({ key }) => held.get(key).held,
  /**
   * Reads the counter and writes it back incremented, `times` times. Without the lock, two
   * instances would lose increments.
   */
  async count({ key, times }) {
    for (let i = 0; i < times; i++) {
      await locks.run(
        key,
        async () => {
          const [{ value }] = await database.query('SELECT value FROM counter');
          await database.query(`UPDATE counter SET value = ${Number(value) + 1}`);
        },
        { wait: Infinity },
      );
    }
  },
  /**
   * Lets the process stop itself, so it never stops in the middle of a statement. The answer
   * comes after the parent has let the process go on.
   */
  async freeze({ key }) {
    process.send({ event: 'freezing', key });
    await new Promise((resolve) => setImmediate(resolve));
    process.kill(process.pid, 'SIGSTOP');
    return { held: held.get(key)?.held };
  },
  async close() {
    await app.close();
    process.disconnect();
  },
};

process.on('message', (message) => void answer(message));

async function answer({ id, action, ...request }) {
  try {
    const result = await actions[action](request);
    if (process.connected) process.send({ id, result });
  } catch (error) {
    process.send({ id, error: `${error.name}: ${error.message}` });
  }
}

process.send({ event: 'ready' });
