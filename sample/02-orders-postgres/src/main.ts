import { NestFactory } from '@nestjs/core';
import { LockExceptionFilter } from 'nestjs-locked';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule);
app.useGlobalFilters(new LockExceptionFilter()); // a busy order is 409, with Retry-After
// On SIGTERM the work under a lock ends, and the lock is released.
app.enableShutdownHooks();
await app.listen(process.env.PORT ?? 3000);
console.log(`Listening on ${await app.getUrl()}`);
