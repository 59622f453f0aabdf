import { LockStoreError } from '../../../lock.errors.js';
import { openMysqlSessions } from '../mysql/mysql-sessions.js';
import { openPostgresSessions } from '../postgres/postgres-sessions.js';
import type { SqlExecutor } from '../sql-executor.js';
import type { SessionDatabase } from './session-database.js';
import type { SessionSettings } from './session-store.options.js';

/** @throws LockStoreError for a database that has no session locks, or whose session locks exclude nobody */
export async function openSessionDatabase(
  executor: SqlExecutor,
  settings: SessionSettings,
): Promise<SessionDatabase> {
  const { type } = executor;
  if (type === 'postgres') return openPostgresSessions(executor, settings);
  if (type === 'mysql' || type === 'mariadb') return openMysqlSessions(executor, settings);
  throw new LockStoreError(
    `TypeORM's ${type} has no session locks: they are for postgres, mysql and mariadb. Keep leases in a table instead: typeOrmStore() does so on postgres, mysql, mariadb and better-sqlite3, mongoStore() on MongoDB.`,
  );
}
