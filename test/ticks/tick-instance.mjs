// An instance of an application with a job that runs once per tick, in a process of its own
// with a clock of its own: `node tick-instance.mjs URL LABEL SECONDS`.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { Cron, ScheduleModule } from '@nestjs/schedule';
import { Locked, LockModule, LockService } from 'nestjs-locked';
import { mongoStore } from 'nestjs-locked/mongodb';
import { typeOrmStore } from 'nestjs-locked/typeorm';

const [url, label, seconds] = process.argv.slice(2);
const KEY = 'ticking';

class Job {
  async run() {
    const { lastTick } = await locks.admin.inspect(KEY);
    process.send({ event: 'ran', tick: lastTick.getTime() });
  }
}
const run = Object.getOwnPropertyDescriptor(Job.prototype, 'run');
// With a short ttl, the lock of a killed instance is free before the next tick.
Locked(KEY, { once: 'tick', ttl: '2s', wait: '4s' })(Job.prototype, 'run', run);
Cron(`*/${seconds} * * * * *`, { timeZone: 'UTC', threshold: 10_000 })(Job.prototype, 'run', run);
Object.defineProperty(Job.prototype, 'run', run);

const app = await NestFactory.createApplicationContext(
  {
    module: class InstanceModule {},
    imports: [LockModule.forRoot({ store: storeAt(url), label }), ScheduleModule.forRoot()],
    providers: [Job],
  },
  { logger: ['error'] },
);
const locks = app.get(LockService);
locks.events.on('busy', ({ reason }) => process.send({ event: 'skipped', reason }));
// The instance must not outlive its parent process.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.send({ event: 'ready' });

function storeAt(address) {
  if (address.startsWith('mongodb')) return mongoStore({ url: address });
  const { protocol, hostname: host, port, username, password, pathname } = new URL(address);
  const type = protocol === 'mysql:' ? 'mysql' : 'postgres';
  const database = pathname.slice(1);
  const connection = { type, host, port: Number(port), username, password, database };
  return typeOrmStore({ connection, table: 'ticks' });
}
