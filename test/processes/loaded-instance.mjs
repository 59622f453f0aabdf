// An application in which 50 jobs run under locks and 500 calls wait for the same locks. It
// prints each event as a line of JSON. argv: its database ({ kind, options }) as JSON; `load`,
// or `take` to take the 50 locks without waiting.
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { MongoClient } from 'mongodb';
import { LockModule, LockService } from 'nestjs-locked';
import { mongoStore } from 'nestjs-locked/mongodb';
import { typeOrmStore } from 'nestjs-locked/typeorm';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';

const { kind, options } = JSON.parse(process.argv[2]);
const task = process.argv[3];
const JOBS = 50;
/** The number of jobs that do not end before shutdownTimeout. */
const ENDLESS = 5;
const WAITERS_OF_EACH = 10;

const tell = (event, details = {}) => process.stdout.write(`${JSON.stringify({ event, ...details })}\n`);
const keys = Array.from({ length: JOBS }, (_, i) => `job ${i}`);
const client = kind === 'mongodb' ? new MongoClient(options.url) : undefined;

class AppModule {
  /** Closes the MongoDB client, since the application has made the client itself. */
  async onApplicationShutdown() {
    await client?.close();
  }
}
Module({
  imports: [
    ...(client ? [] : [TypeOrmModule.forRoot(options)]),
    LockModule.forRoot({
      store: client ? mongoStore({ client, databaseName: options.databaseName }) : typeOrmStore(),
      // With this long ttl, the test fails if a call has to wait until a lock expires.
      ttl: '10m',
      shutdownTimeout: '3s',
    }),
  ],
})(AppModule);

await client?.connect();
const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error'], abortOnError: false });
const locks = app.get(LockService);

if (task === 'take') {
  const taken = await Promise.all(keys.map((key) => locks.tryAcquire(key)));
  tell('taken', { locks: taken.filter((lock) => lock?.held).length });
  await app.close();
} else {
  app.enableShutdownHooks(['SIGTERM']);
  tellWhenConnectionsClose();
  locks.events.on('released', ({ key }) => tell('released', { key }));
  locks.events.on('lost', ({ key }) => tell('lost', { key }));
  const told = once(process, 'SIGTERM').then(() => tell('told to stop'));

  await new Promise((resolve) => {
    let running = 0;
    keys.forEach((key, i) => void work(key, i, told, () => ++running === JOBS && resolve()));
  });
  for (let i = 0; i < JOBS * WAITERS_OF_EACH; i++) void wait(keys[i % JOBS]);
  // When this request is answered, all calls have begun to wait.
  await locks.admin.inspect(keys[0]);
  tell('loaded');
}

/**
 * The work of job `i`. After the shutdown has begun, each job goes on for a different time.
 */
async function work(key, i, told, begun) {
  try {
    await locks.run(key, async ({ signal }) => {
      begun();
      await told;
      await (i < JOBS - ENDLESS ? pause(i * 20) : once(signal, 'abort'));
      tell('worked', { key, held: !signal.aborted });
    });
    tell('done', { key });
  } catch (error) {
    tell('failed', { key, error: error.name });
  }
}

async function wait(key) {
  try {
    await locks.acquire(key, { wait: Infinity });
    tell('acquired', { key });
  } catch (error) {
    tell('refused', { error: `${error.name}: ${error.message}` });
  }
}

function tellWhenConnectionsClose() {
  const [connections, close] = client ? [client, 'close'] : [app.get(getDataSourceToken()), 'destroy'];
  const closing = connections[close].bind(connections);
  connections[close] = () => {
    tell('connections close');
    return closing();
  };
}
