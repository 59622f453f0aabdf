import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';

const app = await NestFactory.createApplicationContext(AppModule);
// With shutdown hooks, the current run ends after a SIGTERM, and releases the lock.
app.enableShutdownHooks();
console.log('Bills are written each second.');
