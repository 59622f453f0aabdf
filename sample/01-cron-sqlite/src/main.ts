import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';

const app = await NestFactory.createApplicationContext(AppModule);
// On SIGTERM the current run ends, and the lock is released.
app.enableShutdownHooks();
