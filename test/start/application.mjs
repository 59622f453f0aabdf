// An application that loads the library and its store for SQL, starts, and closes. It keeps
// its locks in the SQLite file that is its argument.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { LockModule } from 'nestjs-locked';
import { fromBetterSqlite3, sqlStore } from 'nestjs-locked/sql';

const store = sqlStore({ executor: fromBetterSqlite3(process.argv[2]) });
const app = await NestFactory.createApplicationContext(LockModule.forRoot({ store }), { logger: ['error'] });
await app.close();
