import Database from 'better-sqlite3';
import { fromBetterSqlite3 } from 'nestjs-locked/sql';
import { check } from './application.js';

const database = new Database('app.sqlite');

await check<never>({
  executor: fromBetterSqlite3(database),
  query: async (sql) => database.exec(sql),
  count: async () => database.prepare('SELECT * FROM notes').all().length,
  close: async () => database.close(),
});
