// An application that uses many locks. Before and after, it measures what it holds of the
// process and of the database, and prints both as a line of JSON.
// argv: the store (its kind and options) and the amounts, as JSON. Run it with --expose-gc.
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

// This hook counts the timers, because Node does not list timers that do not keep the process
// alive.
const timers = new Set();
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
// This signal outlives every wait, like the shutdown signal of an application, so that
// forgotten listeners add up.
const lasting = new AbortController();
setInterval(() => {}, 60_000); // Keeps the process alive, which the timers of renewals do not.
let keys = 0;

await use(amounts.warmUp);
const before = await measure();
await use(amounts.measured);
const after = await measure();
await app.close();
await database.close();
console.log(JSON.stringify({ before, after }));
process.exit(); // Exits even if timers were left behind; the printed figures show such timers.

async function use({ acquisitions, losses, abortedWaits }) {
  await inGroups(acquisitions, async (group) => {
    const signal = lasting.signal;
    await Promise.all([
      ...group.map((key) => locks.run(key, () => {}, { signal })),
      // Half of the callers find a held key, and wait until the caller before them releases
      // it.
      ...group.slice(0, group.length / 2).map((key) => locks.run(key, () => {}, { signal, wait: '10m' })),
    ]);
  });
  await inGroups(losses, async (group) => {
    const held = await Promise.all(group.map((key) => locks.acquire(key, { renewEvery: 100 })));
    const told = held.map((lock) => once(lock.signal, 'abort'));
    for (const { key } of held) assert(await locks.admin.forceRelease(key, { reason: 'it is lost' }));
    await Promise.all(told); // Each holder learns at its next renewal that its lock is lost.
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

/**
 * Calls `work` with groups of new keys, so that everything that the library keeps for each key
 * adds up.
 */
async function inGroups(count, work) {
  for (let left = count; left > 0; left -= 100)
    await work(Array.from({ length: Math.min(left, 100) }, () => `key ${++keys}`));
}

async function measure() {
  for (let turn = 0; turn < 4; turn++) {
    // Node drops a cancelled timer or immediate only in the next turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
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

/**
 * Counts the open files of this process. Systems other than Linux do not list them, and count
 * as 0.
 */
function openFiles() {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
}
