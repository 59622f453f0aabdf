import { migrate } from 'drizzle-orm/mysql2/migrator';
import { openDatabase } from './database/database.module.js';

// Run it once before the instances start: they do not migrate by themselves.
const db = openDatabase();
await migrate(db, { migrationsFolder: 'drizzle' });
await db.$client.end();
console.log('The tables are there.');
