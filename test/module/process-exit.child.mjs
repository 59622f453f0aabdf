// An application in a process of its own; the first argument says what it does. The file is
// plain JavaScript, so it applies decorators by calling them.
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Interval, ScheduleModule } from '@nestjs/schedule';
import { Locked, LockModule, LockService, memoryStore } from 'nestjs-locked';
import { once } from 'node:events';

class Jobs {
  async run() {
    process.stdout.write('job runs\n');
    await once(process.stdin, 'data');
    process.stdout.write('job ended\n');
  }
}

class AppModule {}

const [task] = process.argv.slice(2);
const scheduled = task === 'stop on SIGTERM';

if (scheduled) {
  const run = Object.getOwnPropertyDescriptor(Jobs.prototype, 'run');
  const decorators = [Interval(5), Locked()];
  Object.defineProperty(Jobs.prototype, 'run', Reflect.decorate(decorators, Jobs.prototype, 'run', run));
}
Module({
  imports: [LockModule.forRoot({ store: memoryStore() }), ScheduleModule.forRoot()],
  providers: [Jobs],
})(AppModule);

const app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
const locks = app.get(LockService);
process.on('exit', () => process.stdout.write('exit\n'));

if (scheduled) {
  locks.events.on('released', ({ key }) => process.stdout.write(`released ${key}\n`));
  app.enableShutdownHooks(['SIGTERM']);
  process.once('SIGTERM', () => process.stdout.write('told to stop\n'));
} else {
  await locks.acquire('short', { ttl: '1h' });
  await locks.acquire('endless', { ttl: Infinity });
  await locks.run('done', () => {}, { minHold: '1h' });
}
if (task === 'close') {
  const waiting = locks.acquire('short', { wait: Infinity }).catch(({ message }) => message);
  await app.close();
  process.stdout.write(`${await waiting}\n`);
}
