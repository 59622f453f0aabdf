import { betterSqlite3 } from './better-sqlite3.js';
import type { ClientKind } from './client-kind.js';
import { drizzle } from './drizzle.js';
import { knex } from './knex.js';
import { mysql2, mysql2Promise } from './mysql2.js';
import { pg } from './pg.js';
import { prisma } from './prisma.js';
import { postgresjs } from './postgresjs.js';
import { typeorm } from './typeorm.js';

/** The drivers, whose executors `npm test` tests. */
export const drivers: readonly ClientKind[] = [pg, mysql2, mysql2Promise, betterSqlite3];

/** The clients above a driver, and a driver whose executor is not part of the library. */
export const orms: readonly ClientKind[] = [typeorm, drizzle, knex, prisma, postgresjs];

/**
 * Every client that has an executor. On each of its databases, it runs the conformance suite
 * of executors and the spec of transactions around locks.
 */
export const clients: readonly ClientKind[] = [...drivers, ...orms];
