import { LockError, LockStoreError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import type { LockDatabase, OnReleased, Run, SqlTransactions } from './lock-statements.js';
import { tableName, type LockTable } from './lock-table.ddl.js';
import { resolveTable } from './lock-table.schema.js';
import { MysqlLocks } from './mysql/mysql-locks.js';
import { Mysql2Driver, type Mysql2Connection } from './mysql/mysql2-driver.js';
import { PooledConnections, PooledTransactions } from './pooled-connections.js';
import { PgDriver, type PgClient } from './postgres/pg-driver.js';
import { openPostgresLink } from './postgres/postgres-link.js';
import { PostgresLocks } from './postgres/postgres-locks.js';
import { postgresStatements } from './postgres/postgres-statements.js';
import { PostgresWakeUps } from './postgres/wake-ups.js';
import { assertAutocommit, assertPostgres, mysqlServer } from './server-checks.js';
import type { DriverExecutor, SqlExecutor, StatementExecutor, Warn } from './sql-executor.js';
import type { SqlStoreSettings } from './sql-store.options.js';
import { SqliteClientTransactions, sourceOf } from './sqlite/sqlite-client.js';
import { SqliteOwnConnection, type Sqlite } from './sqlite/sqlite-connection.js';
import { SqliteLocks } from './sqlite/sqlite-locks.js';
import { SqliteTransactions } from './sqlite/sqlite-transactions.js';
import { openMariadbByStatements, openPostgresByStatements } from './statement-database.js';

/**
 * Milliseconds after which the operating system looks whether a connection that is silent is
 * still there.
 */
const LISTENING_KEEP_ALIVE = 10_000;

/**
 * Finds out what the database can do.
 *
 * @throws LockStoreError when the database is of another kind or too old
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
  if (type === 'better-sqlite3') return openSqlite(executor as DriverExecutor<Sqlite>, settings.table);
  if (!('borrow' in executor)) return openByStatements(executor, settings, warn);
  if (type === 'postgres')
    return openPostgres(executor as DriverExecutor<PgClient>, settings, onReleased, warn);
  if (type === 'mysql' || type === 'mariadb')
    return openMysql(executor as DriverExecutor<Mysql2Connection>, settings, warn);
  throw unsupported(executor);
}

/** Through a client that only runs statements. */
async function openByStatements(
  executor: StatementExecutor,
  settings: SqlStoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  const { type } = executor;
  if (type === 'postgres') return openPostgresByStatements(executor, settings, warn);
  if (type === 'mysql' || type === 'mariadb') return openMariadbByStatements(executor, settings, warn);
  throw unsupported(executor);
}

function unsupported({ client, type }: SqlExecutor): LockStoreError {
  return new LockStoreError(
    `${client}'s ${type} cannot keep locks. Supported are postgres, mysql, mariadb and better-sqlite3. The store may also have a client of its own: see sqlStore({ executor }).`,
  );
}

function assertAvailable(type: string, { asyncRelease, preparedStatements }: SqlStoreSettings): void {
  if (asyncRelease && type !== 'postgres')
    throw new LockError(
      `The option asyncRelease is for PostgreSQL: ${type} cannot commit one statement without waiting for the disk. Leave it out; or, for locks that a crash may take away, use sqlSessionStore() or typeOrmSessionStore() on MySQL and MariaDB, and the option weak on SQLite.`,
    );
  if (!preparedStatements && type === 'better-sqlite3')
    throw new LockError(
      'The option preparedStatements is for databases behind a pooler, and SQLite has none: leave it out.',
    );
}

async function openPostgres(
  executor: DriverExecutor<PgClient>,
  { table, asyncRelease, preparedStatements, wakeUps }: SqlStoreSettings,
  onReleased: OnReleased,
  warn: Warn,
): Promise<LockDatabase> {
  const driver = new PgDriver({ named: preparedStatements, warn });
  const connections = new PooledConnections(executor, driver, warn);
  const resolved = await connections.use(OPERATION_LIMIT, async (run) => {
    assertPostgres(await driver.readVersion(run));
    return resolveTable(executor, table, rowsBy(run));
  });
  const statements = postgresStatements(tableName('postgres', resolved), { asyncRelease, weak: table.weak });
  const locks = new PostgresLocks(statements);
  const connect = (abandoned: AbortSignal) => openPostgresLink(executor, LISTENING_KEEP_ALIVE, abandoned);
  const notifying = wakeUps ? new PostgresWakeUps(locks, connections, connect, onReleased, warn) : undefined;
  return {
    kind: 'postgres',
    table: resolved,
    connections,
    transactions: new PooledTransactions(executor, driver, warn, 'READ COMMITTED'),
    statements: locks,
    wakeUps: notifying,
    close: async () => notifying?.close(),
  };
}

async function openMysql(
  executor: DriverExecutor<Mysql2Connection>,
  { table, preparedStatements }: SqlStoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  tableName(executor.type, table); // refuses weak locks before anything else
  const driver = new Mysql2Driver({ prepared: preparedStatements, warn });
  const connections = new PooledConnections(executor, driver, warn);
  const { rows } = await connections.look('SELECT VERSION() AS version, @@GLOBAL.autocommit AS autocommit');
  const { mariadb, atLeast } = mysqlServer(String(rows[0]?.version));
  assertAutocommit(rows[0]?.autocommit);
  const resolved = await connections.use(OPERATION_LIMIT, (run) =>
    resolveTable(executor, table, rowsBy(run)),
  );
  return {
    kind: mariadb ? 'mariadb' : 'mysql',
    table: resolved,
    connections,
    // MySQL's binary log may be of a format that allows no lower level than the application's.
    transactions: new PooledTransactions(executor, driver, warn, mariadb ? 'READ COMMITTED' : undefined),
    statements: new MysqlLocks(tableName(executor.type, resolved), {
      mariadb,
      skipsLocked: mariadb ? atLeast(10, 6) : atLeast(8, 0),
      logsStatements: await logsStatements(connections),
    }),
    close: async () => undefined,
  };
}

async function openSqlite(
  executor: DriverExecutor<Sqlite> | StatementExecutor,
  table: LockTable,
): Promise<LockDatabase> {
  const resolved = await resolveTable(executor, table, async () => []);
  const name = tableName('better-sqlite3', resolved);
  const source = 'borrow' in executor ? executor : await sourceOf(executor);
  const own = await SqliteOwnConnection.open(source, { weak: table.weak });
  return {
    kind: 'better-sqlite3',
    table: resolved,
    connections: own,
    transactions: sqliteTransactionsOf(executor, name, own),
    statements: new SqliteLocks(name),
    close: async () => own.close(),
  };
}

/** Gives nothing for a client whose transactions are synchronous. */
function sqliteTransactionsOf(
  executor: DriverExecutor<Sqlite> | StatementExecutor,
  table: string,
  own: SqliteOwnConnection,
): SqlTransactions | undefined {
  if (!('borrow' in executor)) return new SqliteClientTransactions(executor, table, own);
  return executor.hasSynchronousTransactions ? undefined : new SqliteTransactions(executor, table, own);
}

/**
 * Whether the binary log of MySQL or MariaDB records statements. Newer servers may not have
 * the variable.
 */
async function logsStatements(connections: PooledConnections<Mysql2Connection>): Promise<boolean> {
  const { rows } = await connections.look(
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')",
  );
  const values = rows.map(({ Value }) => String(Value));
  return values.includes('ON') && values.includes('STATEMENT');
}

function rowsBy(run: Run): (sql: string) => Promise<Record<string, unknown>[]> {
  return async (sql) => (await run(sql)).rows;
}
