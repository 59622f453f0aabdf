// An application that starts, with or without locks, and prints how many milliseconds its
// start took.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import Sqlite from 'better-sqlite3';

const [variant, file] = process.argv.slice(2);
const database = new Sqlite(file);
database.prepare('SELECT 1').get(); // the application uses its database even without locks

const imports = variant === 'with locks' ? [await locksOf(file)] : [];
const module = { module: class BenchModule {}, imports };
const app = await NestFactory.createApplicationContext(module, { logger: false, abortOnError: false });
console.log(performance.now()); // performance.now() counts from the start of the process
await app.close();
database.close();

async function locksOf(path) {
  const { LockModule } = await import('../../dist/esm/index.js');
  const { fromBetterSqlite3, sqlStore } = await import('../../dist/esm/stores/sql/index.js');
  return LockModule.forRoot({ store: sqlStore({ executor: fromBetterSqlite3(path) }) });
}
