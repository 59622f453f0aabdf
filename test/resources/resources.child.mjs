// An application that uses locks a lot, and tells what it holds of the process and the database before and after: a line of JSON.
// argv: the store (its kind and options) and how much of everything, as JSON. Run it with --expose-gc.
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { LockModule, LockService } from 'nestjs-locked';
import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { getEventListeners, once } from 'node:events';
import { readdirSync } from 'node:fs';
import { openStore } from './open-store.mjs';

const [store, amounts] = process.argv.slice(2).map((argument) => JSON.parse(argument));

const timers = new Set(); // also those that do not keep the process alive, which Node itself does not list
createHook({
  init: (id, type) => void (type === 'Timeout' && timers.add(id)),
  destroy: (id) => void timers.delete(id),
}).enable();

const database = await openStore(store);
class AppModule {}
Module({ imports: [LockModule.forRoot({ store: database.store, ttl: '30s' })] })(AppModule);
const app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
app.enableShutdownHooks();
const locks = app.get(LockService);
const lasting = new AbortController(); // as that of a shutdown of the application's own: it outlives every wait
setInterval(() => {}, 60_000); // renewals alone do not keep a process alive
let keys = 0;

await use(amounts.warmUp);
const before = await measure();
await use(amounts.measured);
const after = await measure();
await app.close();
await database.close();
console.log(JSON.stringify({ before, after }));
process.exit(); // also when timers were left behind: the figures tell

async function use({ acquisitions, losses, abortedWaits }) {
  await inGroups(acquisitions, async (group) => {
    const signal = lasting.signal;
    await Promise.all([
      ...group.map((key) => locks.run(key, () => {}, { signal })),
      // Half of them wait, and get the lock from the one before.
      ...group.slice(0, group.length / 2).map((key) => locks.run(key, () => {}, { signal, wait: '10m' })),
    ]);
  });
  await inGroups(losses, async (group) => {
    const held = await Promise.all(group.map((key) => locks.acquire(key, { renewEvery: 100 })));
    const told = held.map((lock) => once(lock.signal, 'abort'));
    for (const { key } of held) assert(await locks.admin.forceRelease(key, { reason: 'it is lost' }));
    await Promise.all(told); // at the next renewal
    for (const lock of held) assert.equal(await lock.release(), false);
  });
  await inGroups(abortedWaits, async (group) => {
    const held = await Promise.all(group.map((key) => locks.acquire(key)));
    const giveUp = new AbortController();
    const waits = group.map((key) => locks.acquire(key, { signal: giveUp.signal, wait: Infinity }));
    setImmediate(() => giveUp.abort());
    for (const { reason } of await Promise.allSettled(waits)) assert.equal(reason?.name, 'AbortError');
    assert.equal(getEventListeners(giveUp.signal, 'abort').length, 0);
    await Promise.all(held.map((lock) => lock.release()));
  });
}

/** Of new keys each time: what is kept for each key would add up. */
async function inGroups(count, work) {
  for (let left = count; left > 0; left -= 100)
    await work(Array.from({ length: Math.min(left, 100) }, () => `key ${++keys}`));
}

async function measure() {
  for (let turn = 0; turn < 4; turn++) {
    await new Promise((resolve) => setImmediate(resolve)); // what was cancelled is gone a turn later
    globalThis.gc();
  }
  return {
    heap: process.memoryUsage().heapUsed,
    timers: timers.size,
    ...countsOf('active', process.getActiveResourcesInfo()),
    'listeners of the signal': getEventListeners(lasting.signal, 'abort').length,
    'listeners of the process': listenersOf(process),
    'listeners of the service': listenersOf(locks.events),
    connections: database.connections(),
    'open files': openFiles(),
    'locks held': (await locks.admin.list()).locks.length,
  };
}

function countsOf(prefix, names) {
  const counts = {};
  for (const name of names) counts[`${prefix} ${name}`] = (counts[`${prefix} ${name}`] ?? 0) + 1;
  return counts;
}

function listenersOf(emitter) {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);
}

/** Where the system tells. */
function openFiles() {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
}
