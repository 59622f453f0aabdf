// Takes a lock and reads the clock in a loop until the process was stopped for longer than the
// lease. Then it reports whether it believes in the lock, before any timer runs. argv:
// `stopped`; or `paused` for a machine whose monotonic clock stands still meanwhile, as under
// a hypervisor.
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { LockModule, LockService, memoryStore } from 'nestjs-locked';

const TTL = 900;

class AppModule {}
Module({ imports: [LockModule.forRoot({ store: memoryStore(), ttl: TTL })] })(AppModule);
const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
const lock = await app.get(LockService).acquire('key');
const before = lock.held;
let last = Date.now(); // The process may be stopped before its first look at the clock.
process.send({ event: 'looking' }, () => setImmediate(look));

function look() {
  const now = performance.now.bind(performance);
  let paused = 0;
  for (;;) {
    const gap = Date.now() - last;
    last += gap;
    if (gap < 100) continue;
    if (process.argv[2] === 'paused') paused += gap;
    performance.now = () => now() - paused;
    if (gap >= TTL) break;
  }
  const { held } = lock;
  let thrown;
  try {
    lock.assertHeld();
  } catch (error) {
    thrown = error.name;
  }
  process.send({ before, held, thrown, lost: lock.loss !== undefined }, () => process.exit());
}
