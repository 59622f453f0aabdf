import { LockError, LockStoreError } from '../../lock.errors.js';
import type { LockDatabase, OnReleased } from './lock-statements.js';
import type { Mysql2Connection } from './mysql/mysql2-driver.js';
import type { PgClient } from './postgres/pg-driver.js';
import type { DriverExecutor, SqlExecutor, StatementExecutor, Warn } from './sql-executor.js';
import type { SqlStoreSettings } from './sql-store.options.js';
import type { Sqlite } from './sqlite/sqlite-connection.js';

/**
 * Opens the database, and finds out which features it has.
 *
 * @throws LockStoreError if the database is not supported or too old
 * @throws LockError for an option that this kind of database does not have
 */
export async function openLockDatabase(
  executor: SqlExecutor,
  settings: SqlStoreSettings,
  onReleased: OnReleased,
  warn: Warn,
): Promise<LockDatabase> {
  const { type } = executor;
  assertAvailable(type, settings);
  // Only the files for this kind of database are imported, since imports take most of the time
  // of the start.
  if (type === 'better-sqlite3') {
    const { openSqlite } = await import('./sqlite/sqlite-database.js');
    return openSqlite(executor as DriverExecutor<Sqlite>, settings.table);
  }
  if (!('borrow' in executor)) return openByStatements(executor, settings, warn);
  if (type === 'postgres') {
    const { openPostgres } = await import('./postgres/postgres-database.js');
    return openPostgres(executor as DriverExecutor<PgClient>, settings, onReleased, warn);
  }
  if (type === 'mysql' || type === 'mariadb') {
    const { openMysql } = await import('./mysql/mysql-database.js');
    return openMysql(executor as DriverExecutor<Mysql2Connection>, settings, warn);
  }
  throw unsupported(executor);
}

/** Opens a database through a client that only runs statements. */
async function openByStatements(
  executor: StatementExecutor,
  settings: SqlStoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  const { type } = executor;
  const { openMariadbByStatements, openPostgresByStatements } = await import('./statement-database.js');
  if (type === 'postgres') return openPostgresByStatements(executor, settings, warn);
  if (type === 'mysql' || type === 'mariadb') return openMariadbByStatements(executor, settings, warn);
  throw unsupported(executor);
}

function unsupported({ client, type }: SqlExecutor): LockStoreError {
  return new LockStoreError(
    `${client}'s ${type} cannot keep locks. Supported are postgres, mysql, mariadb and better-sqlite3. The store can also use a separate client: see sqlStore({ executor }).`,
  );
}

function assertAvailable(type: string, { asyncRelease, preparedStatements }: SqlStoreSettings): void {
  if (asyncRelease && type !== 'postgres')
    throw new LockError(
      `The option asyncRelease is only for PostgreSQL, since ${type} cannot commit a single statement without waiting for the disk. Leave out the option; or, for locks that a crash may delete, use sqlSessionStore() or typeOrmSessionStore() on MySQL and MariaDB, and the option weak on SQLite.`,
    );
  if (!preparedStatements && type === 'better-sqlite3')
    throw new LockError(
      'The option preparedStatements is for databases behind a pooler, but SQLite is never behind a pooler. Leave out the option.',
    );
}
