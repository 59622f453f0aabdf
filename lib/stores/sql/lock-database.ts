import type { DataSource } from 'typeorm';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../shared/time-limit.js';
import type { LockDatabase, Run } from './lock-statements.js';
import { tableName } from './lock-table.ddl.js';
import { resolveTable } from './lock-table.schema.js';
import { mysqlDialect } from './mysql/mysql-statements.js';
import { MysqlWire } from './mysql/mysql2-driver.js';
import { PooledSessions, type Warn } from './pooled-sessions.js';
import { PooledTransactions } from '../executors/typeorm/pooled-transactions.js';
import { postgresDialect } from './postgres/postgres-statements.js';
import { openPostgresLink } from './postgres/postgres-link.js';
import { PostgresListener } from './postgres/postgres-listener.js';
import { PostgresWire } from './postgres/pg-driver.js';
import { assertPostgres, mysqlServer } from './server-version.js';
import { sqliteDialect } from './sqlite/sqlite-statements.js';
import { SqliteSession } from './sqlite/sqlite-session.js';
import { SqliteTransactions } from './sqlite/sqlite-transactions.js';
import type { LockTable, StoreSettings } from '../typeorm/typeorm-store.options.js';

/** Milliseconds after which the operating system looks whether a connection that is silent is still there. */
const LISTENING_KEEP_ALIVE = 10_000;

const SUPPORTED = 'postgres, mysql, mariadb and better-sqlite3';

/**
 * @throws LockStoreError when the database is of another kind or too old
 * @throws LockError for an option that this kind of database does not have
 */
export async function openLockDatabase(
  dataSource: DataSource,
  settings: StoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  const { type } = dataSource.options;
  if (!dataSource.isInitialized)
    throw new LockStoreError(
      `The ${type} DataSource is not initialized. Initialize it before the lock store is used.`,
    );
  assertAvailable(type, settings);
  if (type === 'postgres') return openPostgres(dataSource, settings, warn);
  if (type === 'mysql' || type === 'mariadb') return openMysql(dataSource, type, settings, warn);
  if (type === 'better-sqlite3') return openSqlite(dataSource, settings.table);
  throw new LockStoreError(
    `TypeORM's ${type} cannot keep locks. Supported are ${SUPPORTED}; a store may also have a connection of its own: ` +
      'typeOrmStore({ connection: { type: ... } }).',
  );
}

function assertAvailable(type: string, { asyncRelease, preparedStatements }: StoreSettings): void {
  if (asyncRelease && type !== 'postgres')
    throw new LockError(
      `The option asyncRelease is for PostgreSQL: ${type} cannot commit one statement without waiting for the disk. Leave it out; or, for locks that a crash may take away, use typeOrmSessionStore() on MySQL and MariaDB, and the option weak on SQLite.`,
    );
  if (!preparedStatements && type === 'better-sqlite3')
    throw new LockError(
      'The option preparedStatements is for databases behind a pooler, and SQLite has none: leave it out.',
    );
}

async function openPostgres(
  dataSource: DataSource,
  { table, asyncRelease, preparedStatements }: StoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  const wire = new PostgresWire({ named: preparedStatements, warn });
  const sessions = new PooledSessions(dataSource, wire, warn);
  const resolved = await sessions.use(OPERATION_LIMIT, async (run) => {
    assertPostgres(await wire.readVersion(run));
    return resolveIn(dataSource, table, run);
  });
  const transactions = new PooledTransactions(dataSource, wire, 'READ COMMITTED', warn);
  return {
    kind: 'postgres',
    table: resolved,
    sessions,
    transactions,
    statements: postgresDialect(tableName('postgres', resolved), { asyncRelease, weak: table.weak }),
    listen: (heard) =>
      new PostgresListener(
        (abandoned) => openPostgresLink(dataSource, LISTENING_KEEP_ALIVE, abandoned),
        heard,
      ),
  };
}

async function openMysql(
  dataSource: DataSource,
  type: string,
  { table, preparedStatements }: StoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  tableName(type, table); // refuses weak locks before anything else
  const wire = new MysqlWire({ prepared: preparedStatements, warn });
  const sessions = new PooledSessions(dataSource, wire, warn);
  const { rows } = await sessions.look('SELECT VERSION() AS version, @@GLOBAL.autocommit AS autocommit');
  const { mariadb, atLeast } = mysqlServer(String(rows[0]?.version));
  if (Number(rows[0]?.autocommit) !== 1)
    throw new LockStoreError(
      'Locks need autocommit, but new sessions of this server have it off: no other session would see them. Run SET GLOBAL autocommit = 1, and take autocommit out of the configuration of the server.',
    );
  const skipsLocked = mariadb ? atLeast(10, 6) : atLeast(8, 0);
  const resolved = await sessions.use(OPERATION_LIMIT, (run) => resolveIn(dataSource, table, run));
  const statements = mysqlDialect(tableName(type, resolved), {
    mariadb,
    skipsLocked,
    logsStatements: await logsStatements(sessions),
  });
  // MySQL's binary log may be of a format that allows no lower level than the application's.
  const transactions = new PooledTransactions(dataSource, wire, mariadb ? 'READ COMMITTED' : undefined, warn);
  return { kind: mariadb ? 'mariadb' : 'mysql', table: resolved, sessions, transactions, statements };
}

async function openSqlite(dataSource: DataSource, table: LockTable): Promise<LockDatabase> {
  const resolved = await resolveTable(dataSource, table, async () => []);
  const name = tableName('better-sqlite3', resolved);
  const sessions = await SqliteSession.open(dataSource, { weak: table.weak });
  const transactions = new SqliteTransactions(dataSource, name, sessions);
  return { kind: 'better-sqlite3', table: resolved, sessions, transactions, statements: sqliteDialect(name) };
}

/**
 * Whether the binary log of MySQL or MariaDB records statements. Newer servers may not have
 * the variable.
 */
async function logsStatements(sessions: Pick<PooledSessions<unknown>, 'look'>): Promise<boolean> {
  const { rows } = await sessions.look(
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')",
  );
  const values = rows.map(({ Value }) => String(Value));
  return values.includes('ON') && values.includes('STATEMENT');
}

function resolveIn(dataSource: DataSource, table: LockTable, run: Run): Promise<LockTable> {
  return resolveTable(dataSource, table, async (sql) => (await run(sql)).rows);
}
