import { migrate } from 'drizzle-orm/mysql2/migrator';
import { openDatabase } from './database/database.module.js';

// Run this script once before the instances start, since they do not migrate the database
// themselves.
const db = openDatabase();
await migrate(db, { migrationsFolder: 'drizzle' });
await db.$client.end();
console.log('The tables are there.');
