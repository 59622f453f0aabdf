// An instance of an application on MongoDB in a process of its own, which carries out the
// requests of its parent. argv: its options as JSON, its label.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { LockModule, LockService } from 'nestjs-locked';
import { mongoStore } from 'nestjs-locked/mongodb';
import { now } from '../torture/terms.mjs';
import { LedgerWork } from './ledger-work.mjs';

const { url, databaseName, driver, clientOptions, writeConcern, ...lockOptions } = JSON.parse(
  process.argv[2],
);
const label = process.argv[3];
const { MongoClient } = await import(driver);
const client = await connect();
const database = client.db(databaseName);
const app = await NestFactory.createApplicationContext(
  {
    module: class InstanceModule {},
    imports: [
      LockModule.forRoot({
        store: mongoStore({ db: database, ...(writeConcern && { writeConcern }) }),
        label,
        ...lockOptions,
      }),
    ],
  },
  { logger: ['error'] },
);
app.enableShutdownHooks();
const locks = app.get(LockService);
const held = new Map();
const work = new LedgerWork(locks, database.collection('ledgers'), label);

const actions = {
  async acquire({ key, ...options }) {
    let tell;
    const lost = new Promise((resolve) => (tell = resolve));
    const onLost = (lock) => tell({ lostAt: now(), date: Date.now(), held: lock.held });
    const lock = await locks.acquire(key, { ...options, onLost });
    held.set(key, { lock, lost });
    return { fencingToken: lock.fencingToken, grantedAt: now() };
  },
  /** Resolves when the holder is notified that its lock is lost. */
  loss: ({ key }) => held.get(key).lost,
  release: ({ key }) => held.get(key).lock.release(),
  held: ({ key }) => held.get(key).lock.held,
  inspect: ({ key }) => locks.admin.inspect(key),
  disable: () => locks.disable(),
  enable: () => locks.enable(),
  count: (request) => work.start(request),
  counted: ({ times }) => work.counted(times),
  report: () => work.end(),
};

/**
 * Retries the connection, because it can take longer than the time limit of the client when
 * eight instances start at once.
 */
async function connect() {
  for (;;) {
    try {
      return await new MongoClient(url, { appName: label, ...clientOptions }).connect();
    } catch (error) {
      if (error.name !== 'MongoServerSelectionError') throw error;
    }
  }
}

process.on('message', (message) => void answer(message));

async function answer({ id, action, ...request }) {
  try {
    process.send({ id, result: await actions[action](request) });
  } catch (error) {
    process.send({ id, error: `${error.name}: ${error.message}` });
  }
}

// The parent process has ended, so this process ends, too.
process.on('disconnect', () => process.exit());
process.send({ event: 'ready' });
