// Another process of the application, which uses the built package and TypeORM. It acquires
// and releases the same key again and again. argv: the options of a DataSource as JSON.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { LockModule, LockService } from 'nestjs-locked';
import { typeOrmStore } from 'nestjs-locked/typeorm';
import { DataSource } from 'typeorm';
import { stay } from './holders.mjs';

const options = JSON.parse(process.argv[2]);
const app = await NestFactory.createApplicationContext(
  {
    module: class Rival {},
    imports: [
      LockModule.forRoot({
        store: typeOrmStore({ connection: options }),
        ttl: '10s',
        retry: { min: 5, max: 20 },
      }),
    ],
  },
  { logger: false, abortOnError: false },
);
const locks = app.get(LockService);
const witness = await new DataSource(options).initialize();

/** The key that this process acquires; `undefined` while it has no key. */
let key;
let granted = 0;
let failures = [];
/** Whether the parent process waits for a report of the next acquisition. */
let tells = false;

process.on('message', (message) => void act(message));
// Ends this process even if its parent was killed.
process.on('disconnect', () => process.exit());
process.send('ready');

async function act({ action, ...request }) {
  if (action === 'take') {
    key = request.key;
    while (key === request.key) await takeOnce();
    process.send({ granted, failures });
    granted = 0;
    failures = [];
  }
  if (action === 'tell') tells = true;
  if (action === 'stop') key = undefined;
  if (action === 'end') {
    await app.close();
    await witness.destroy();
    process.disconnect();
  }
}

async function takeOnce() {
  const taken = key;
  try {
    await locks.run(taken, () => stay(witness, taken), { wait: '60s' });
    granted++;
  } catch (error) {
    if (failures.length < 5) failures.push(`${error.name}: ${error.message}`);
  }
  if (tells) process.send('taken');
  tells = false;
  await new Promise(setImmediate);
}
