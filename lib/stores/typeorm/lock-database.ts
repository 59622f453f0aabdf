import type { DataSource } from 'typeorm';
import { LockStoreError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../time-limit.js';
import type { LockDatabase } from './lock-dialect.js';
import { tableName } from './lock-table.ddl.js';
import { mysqlDialect } from './mysql.dialect.js';
import { MysqlWire } from './mysql.wire.js';
import { PooledSessions } from './pooled-sessions.js';
import { PooledTransactions } from './pooled-transactions.js';
import { postgresDialect } from './postgres.dialect.js';
import { openPostgresLink } from './postgres.link.js';
import { PostgresListener } from './postgres.listener.js';
import { PostgresWire } from './postgres.wire.js';
import { assertPostgres, mysqlServer } from './server-version.js';
import { sqliteDialect } from './sqlite.dialect.js';
import { SqliteSession } from './sqlite.session.js';
import { SqliteTransactions } from './sqlite.transactions.js';
import type { LockTable } from './typeorm-store.options.js';

/** Milliseconds after which the operating system looks whether a connection that is silent is still there. */
const LISTENING_KEEP_ALIVE = 10_000;

const SUPPORTED = 'postgres, mysql, mariadb and better-sqlite3';

/** @throws LockStoreError when the database is of another kind or too old */
export async function openLockDatabase(dataSource: DataSource, table: LockTable): Promise<LockDatabase> {
  const { type } = dataSource.options;
  if (!dataSource.isInitialized)
    throw new LockStoreError(
      `The ${type} DataSource is not initialized. Initialize it before the lock store is used.`,
    );
  if (type === 'postgres') return openPostgres(dataSource, tableName(type, table));
  if (type === 'mysql' || type === 'mariadb') return openMysql(dataSource, tableName(type, table));
  if (type === 'better-sqlite3') return openSqlite(dataSource, tableName(type, table), table.weak);
  throw new LockStoreError(
    `TypeORM's ${type} cannot keep locks. Supported are ${SUPPORTED}; a store may also have a connection of its own: ` +
      'typeOrmStore({ connection: { type: ... } }).',
  );
}

async function openPostgres(dataSource: DataSource, table: string): Promise<LockDatabase> {
  const wire = new PostgresWire();
  const sessions = new PooledSessions(dataSource, wire);
  const { rows } = await sessions.use(OPERATION_LIMIT, (run) => run('SELECT version() AS version'));
  assertPostgres(String(rows[0]?.version));
  const transactions = new PooledTransactions(dataSource, wire, 'READ COMMITTED');
  return {
    kind: 'postgres',
    sessions,
    transactions,
    dialect: postgresDialect(table),
    listen: (heard) =>
      new PostgresListener(
        (abandoned) => openPostgresLink(dataSource, LISTENING_KEEP_ALIVE, abandoned),
        heard,
      ),
  };
}

async function openMysql(dataSource: DataSource, table: string): Promise<LockDatabase> {
  const wire = new MysqlWire();
  const sessions = new PooledSessions(dataSource, wire);
  const { rows } = await sessions.use(OPERATION_LIMIT, (run) =>
    run('SELECT VERSION() AS version, @@autocommit AS autocommit'),
  );
  const { mariadb, atLeast } = mysqlServer(String(rows[0]?.version));
  if (Number(rows[0]?.autocommit) !== 1)
    throw new LockStoreError(
      'Locks need autocommit, but the sessions of this server have it off: nobody would see them.',
    );
  const skipsLocked = mariadb ? atLeast(10, 6) : atLeast(8, 0);
  const dialect = mysqlDialect(table, { mariadb, skipsLocked });
  // MySQL's binary log may be of a format that allows no lower level than the application's.
  const transactions = new PooledTransactions(dataSource, wire, mariadb ? 'READ COMMITTED' : undefined);
  return { kind: mariadb ? 'mariadb' : 'mysql', sessions, transactions, dialect };
}

async function openSqlite(dataSource: DataSource, table: string, weak: boolean): Promise<LockDatabase> {
  const sessions = await SqliteSession.open(dataSource, { weak });
  const transactions = new SqliteTransactions(dataSource, table, sessions);
  return { kind: 'better-sqlite3', sessions, transactions, dialect: sqliteDialect(table) };
}
