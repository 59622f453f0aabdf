import { NestFactory } from '@nestjs/core';
import { LockExceptionFilter } from 'nestjs-locked';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule);
// A busy show is answered with 423 Locked, with Retry-After.
app.useGlobalFilters(new LockExceptionFilter({ status: 423 }));
// On SIGTERM the work under a lock ends, and the lock is released.
app.enableShutdownHooks();
await app.listen(process.env.PORT ?? 3000);
console.log(`Listening on ${await app.getUrl()}`);
