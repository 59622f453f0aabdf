import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { LockExceptionFilter } from 'nestjs-locked';
import { AppModule } from './app.module.js';
import { LostLockFilter } from './lost-lock.filter.js';

const app = await NestFactory.create(AppModule);
app.useGlobalFilters(new LockExceptionFilter(), new LostLockFilter(app.getHttpAdapter()));
// After a SIGTERM, the work under a lock ends, and the lock is released.
app.enableShutdownHooks();
await app.listen(process.env.PORT ?? 3000);
console.log(`Listening on ${await app.getUrl()}`);
