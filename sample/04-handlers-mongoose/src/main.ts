import { NestFactory } from '@nestjs/core';
import { LockExceptionFilter } from 'nestjs-locked';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule);
app.useGlobalFilters(new LockExceptionFilter({ status: 423 })); // a busy show is 423 Locked, with Retry-After
app.enableShutdownHooks(); // on SIGTERM what runs under a lock ends, and the lock is given back
await app.listen(process.env.PORT ?? 3000);
console.log(`Listening on ${await app.getUrl()}`);
