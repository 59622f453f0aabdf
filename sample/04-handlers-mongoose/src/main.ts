import { NestFactory } from '@nestjs/core';
import { LockExceptionFilter } from 'nestjs-locked';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule);
// The filter answers 423 Locked with Retry-After if the lock of a show is busy.
app.useGlobalFilters(new LockExceptionFilter({ status: 423 }));
// With shutdown hooks, the work under a lock ends after a SIGTERM, and the lock is released.
app.enableShutdownHooks();
await app.listen(process.env.PORT ?? 3000);
console.log(`Listening on ${await app.getUrl()}`);
