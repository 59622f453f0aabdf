import { betterSqlite3 } from './better-sqlite3.js';
import type { ClientKind } from './client-kind.js';
import { drizzle } from './drizzle.js';
import { knex } from './knex.js';
import { mysql2, mysql2Promise } from './mysql2.js';
import { pg } from './pg.js';
import { prisma } from './prisma.js';
import { postgresjs } from './postgresjs.js';
import { typeorm } from './typeorm.js';

/**
 * Every client that has an executor. Each one runs the conformance suite of executors and the
 * spec of transactions around locks, on each of its databases.
 */
export const clients: readonly ClientKind[] = [
  pg,
  mysql2,
  mysql2Promise,
  betterSqlite3,
  typeorm,
  drizzle,
  knex,
  prisma,
  postgresjs,
];
