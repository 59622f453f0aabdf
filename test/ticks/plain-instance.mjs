// An instance of an application with a plain `@Cron('* * * * * *') @Locked()` or an
// `@Interval()`, in a process of its own: `node plain-instance.mjs URL '{"body": 20}'` or
// `'{"interval": 1000}'`. It reports each firing and each run.
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { Cron, Interval, ScheduleModule } from '@nestjs/schedule';
import { Locked, LockModule } from 'nestjs-locked';
import { mongoStore } from 'nestjs-locked/mongodb';
import { typeOrmStore } from 'nestjs-locked/typeorm';

const [url, settings] = process.argv.slice(2);
const { body = 0, interval, prefix } = JSON.parse(settings);

let granted;
let inspect;

class Job {
  async run() {
    const began = Date.now();
    // The tick of an interval is the time at which the run started, by the clock of the
    // database.
    const tick = interval ? (await inspect(`${prefix}:Job.run`)).lastTick.getTime() : granted;
    if (body > 0) await sleep(body);
    process.send({ event: 'ran', tick, began, ended: Date.now() });
  }
}
const run = Object.getOwnPropertyDescriptor(Job.prototype, 'run');
Locked()(Job.prototype, 'run', run);
(interval ? Interval(interval) : Cron('* * * * * *'))(Job.prototype, 'run', run);
Object.defineProperty(Job.prototype, 'run', run);

const definition = storeAt(url);
await NestFactory.createApplicationContext(
  {
    module: class InstanceModule {},
    imports: [LockModule.forRoot({ store: watched(definition), prefix }), ScheduleModule.forRoot()],
    providers: [Job],
  },
  { logger: ['error'] },
);
// The instance must not outlive its parent process.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.send({ event: 'ready' });

/** Wraps a store so that it reports the tick of each request. */
function watched({ useFactory, ...rest }) {
  return {
    ...rest,
    async useFactory(...dependencies) {
      const store = await useFactory(...dependencies);
      const acquire = store.acquire.bind(store);
      inspect = store.inspect.bind(store);
      store.acquire = async (key, owner, ttl, request) => {
        const answer = await acquire(key, owner, ttl, request);
        if (answer.acquired) granted = request.once.tick;
        if (!request.resend) process.send({ event: 'fired', tick: request.once.tick ?? null });
        return answer;
      };
      return store;
    },
  };
}

function storeAt(address) {
  if (address.startsWith('mongodb')) return mongoStore({ url: address });
  if (address.startsWith('sqlite:'))
    return typeOrmStore({ connection: { type: 'better-sqlite3', database: address.slice(7) } });
  const { hostname: host, port, username, password, pathname } = new URL(address);
  const database = pathname.slice(1);
  return typeOrmStore({
    connection: { type: 'postgres', host, port: Number(port), username, password, database },
  });
}
