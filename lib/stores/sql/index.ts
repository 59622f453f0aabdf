export { fromBetterSqlite3, type BetterSqlite3Database } from '../executors/better-sqlite3-executor.js';
export {
  fromDrizzle,
  type DrizzleDatabase,
  type DrizzleTransactionOf,
} from '../executors/drizzle-executor.js';
export { fromKnex, type KnexInstance, type KnexTransactionOf } from '../executors/knex-executor.js';
export { fromMysql2, type Mysql2Pool, type Mysql2PromisePool } from '../executors/mysql2-executor.js';
export { fromPg, type PgClientOf, type PgPool } from '../executors/pg-executor.js';
export {
  fromTypeOrm,
  type TypeOrmDataSource,
  type TypeOrmQueryRunner,
} from '../executors/typeorm-executor.js';
export { fromPrisma, type PrismaClientLike, type PrismaTransaction } from '../executors/prisma-executor.js';
export {
  knexLockTableMigration,
  type KnexMigration,
  type KnexMigrationRunner,
} from '../executors/knex-lock-table.migration.js';
export type { LockTableDatabase } from './lock-table.ddl.js';
export { SessionLockStore } from './sessions/session-lock.store.js';
export type { SessionStoreOptions } from './sessions/session-store.options.js';
export type {
  BorrowedConnection,
  BorrowedTransaction,
  DriverExecutor,
  ExecutorFacts,
  OpenExecutor,
  SqlExecutor,
  SqliteFile,
  SqlResult,
  StatementExecutor,
  TransactionOf,
  TransactionOptions,
} from './sql-executor.js';
export { SqlLockStore } from './sql-lock.store.js';
export { sqlSessionStore, sqlStore, type ExecutorChoice } from './sql-store.js';
export type { LockTableOptions, SqlStoreOptions } from './sql-store.options.js';
