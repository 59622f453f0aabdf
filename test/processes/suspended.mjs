// Takes a lock and reads the clock in a loop until the process was stopped for longer than the
// lease. Then it reports `lock.held`, before any timer runs. argv: `stopped`; or `paused` to
// simulate that the monotonic clock stood still during the stop, as under a hypervisor.
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
// This time is read before the loop, because the process may be stopped before the loop
// begins.
let last = Date.now();
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
