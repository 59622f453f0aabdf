import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';

const app = await NestFactory.createApplicationContext(AppModule);
app.enableShutdownHooks(); // on SIGTERM the run that is going on ends, and the lock is given back
console.log('Bills are written each second.');
