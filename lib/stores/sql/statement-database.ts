import { LockStoreError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import { ClientTransactions } from './client-transactions.js';
import type { LockDatabase, Run } from './lock-statements.js';
import { tableName } from './lock-table.ddl.js';
import { resolveTable } from './lock-table.schema.js';
import { MysqlLocks } from './mysql/mysql-locks.js';
import { PostgresLocks } from './postgres/postgres-locks.js';
import { postgresStatements } from './postgres/postgres-statements.js';
import { assertAutocommit, assertPostgres, mysqlServer } from './server-checks.js';
import type { StatementExecutor, Warn } from './sql-executor.js';
import type { SqlStoreSettings } from './sql-store.options.js';
import { StatementConnections } from './statement-connections.js';
import { UnusableConnectionError } from './unusable-connection.js';

/**
 * How many statements the check sends at most, until one of them runs outside a transaction.
 */
const LOOKS = 12;

/** Opens PostgreSQL through a client that only runs statements. */
export async function openPostgresByStatements(
  executor: StatementExecutor,
  { table, asyncRelease }: SqlStoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  const connections = new StatementConnections(executor, warn, assertBegun);
  const resolved = await connections.use(OPERATION_LIMIT, async (run) => {
    const { rows } = await run('SELECT version() AS version');
    assertPostgres(String(rows[0]?.version));
    await assertSimpleQueries(run, executor);
    return resolveTable(executor, table, async (sql) => (await run(sql)).rows);
  });
  const name = tableName('postgres', resolved);
  return {
    kind: 'postgres',
    table: resolved,
    connections,
    transactions: new ClientTransactions(executor, {
      level: 'READ COMMITTED',
      assertBegun,
    }),
    statements: new PostgresLocks(postgresStatements(name, { asyncRelease, weak: table.weak, alone: true })),
    close: async () => undefined,
  };
}

/**
 * Refuses a transaction that has already written. PostgreSQL accepts a BEGIN inside another
 * transaction, and a commit would then also commit the writes of that transaction.
 */
async function assertBegun(run: Run): Promise<void> {
  const { rows } = await run('SELECT txid_current_if_assigned() IS NULL AS unwritten');
  if (rows[0]?.unwritten !== true) throw new UnusableConnectionError('transaction');
}

/** Opens MariaDB through a client that only runs statements. */
export async function openMariadbByStatements(
  executor: StatementExecutor,
  { table }: SqlStoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  tableName(executor.type, table); // throws an error for the option `weak`
  const connections = new StatementConnections(executor, warn);
  const { rows } = await connections.use(OPERATION_LIMIT, (run) => run(SERVER));
  const [server = {}] = rows;
  const { mariadb, atLeast } = mysqlServer(String(server.version));
  assertProof(executor, { mariadb, logsStatements: server.logs === 'STATEMENT' });
  assertAutocommit(server.autocommit);
  const schema = executor.schema ?? (server.name as string | null) ?? undefined;
  const resolved = await resolveTable(
    { client: executor.client, type: executor.type, schema },
    table,
    async () => [],
  );
  return {
    kind: 'mariadb',
    table: resolved,
    connections,
    transactions: new ClientTransactions(executor, { level: 'READ COMMITTED' }),
    statements: new MysqlLocks(tableName(executor.type, resolved), {
      mariadb,
      skipsLocked: atLeast(10, 6),
      logsStatements: false,
      alone: true,
    }),
    close: async () => undefined,
  };
}

const SERVER = `
  SELECT VERSION() AS version, DATABASE() AS name, @@GLOBAL.autocommit AS autocommit,
         IF(@@GLOBAL.log_bin, @@GLOBAL.binlog_format, 'none') AS logs`;

function assertProof(
  { client }: StatementExecutor,
  { mariadb, logsStatements }: { mariadb: boolean; logsStatements: boolean },
): void {
  const instead = 'Give the locks a client of their own: fromMysql2(pool).';
  if (!mariadb)
    throw new LockStoreError(
      `${client} on MySQL cannot keep locks: it does not show whether a session is in a transaction of the application, and on MySQL, unlike MariaDB, a statement cannot find that out. ${instead}`,
    );
  if (logsStatements)
    throw new LockStoreError(
      `${client} cannot keep locks on this server: its binary log records statements (binlog_format = STATEMENT), which replicas repeat with another clock. Set binlog_format to MIXED or ROW. ${instead}`,
    );
}

/**
 * Checks that the client sends simple queries, since only these can prove that they run
 * outside a transaction.
 */
async function assertSimpleQueries(run: Run, { client }: StatementExecutor): Promise<void> {
  const seen = new Map<unknown, unknown>();
  for (let looks = 0; looks < LOOKS; looks++) {
    const [row = {}] = (await run(LOOK)).rows;
    if (row.alone === true) return;
    // A session whose transaction begins at another time in each statement is not in an open
    // transaction.
    if (seen.has(row.session) && seen.get(row.session) !== row.begin)
      throw new LockStoreError(
        `${client} prepares its statements, so they cannot prove that they run outside of a transaction of the application. Leave out the option that names prepared statements (PrismaPg: statementNameGenerator), or give the locks a client of their own: fromPg(pool).`,
      );
    seen.set(row.session, row.begin);
  }
  throw new UnusableConnectionError('transaction');
}

const LOOK = `SELECT statement_timestamp() = transaction_timestamp() AS alone, transaction_timestamp()::text AS begin, pg_backend_pid() AS session`;
