import { betterSqlite3 } from './better-sqlite3.js';
import type { ClientKind } from './client-kind.js';
import { drizzle } from './drizzle.js';
import { knex } from './knex.js';
import { mysql2, mysql2Promise } from './mysql2.js';
import { pg } from './pg.js';
import { prisma } from './prisma.js';
import { postgresjs } from './postgresjs.js';
import { typeorm } from './typeorm.js';

/** The drivers with executors that `npm test` tests. */
export const drivers: readonly ClientKind[] = [pg, mysql2, mysql2Promise, betterSqlite3];

/**
 * The clients that are built on a driver, and a driver whose executor is not part of the
 * library.
 */
export const orms: readonly ClientKind[] = [typeorm, drizzle, knex, prisma, postgresjs];

/**
 * Every client that has an executor. The executor passes the conformance suite on each
 * database of its client, and so does the spec of transactions around locks.
 */
export const clients: readonly ClientKind[] = [...drivers, ...orms];
