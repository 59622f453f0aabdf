import { LockStoreError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import { ClientTransactions, throughClient } from './client-transactions.js';
import type { LockDatabase, Run } from './lock-statements.js';
import { tableName } from './lock-table.ddl.js';
import { resolveTable } from './lock-table.schema.js';
import { PostgresLocks } from './postgres/postgres-locks.js';
import { postgresStatements } from './postgres/postgres-statements.js';
import { assertPostgres } from './server-checks.js';
import type { StatementExecutor, Warn } from './sql-executor.js';
import type { SqlStoreSettings } from './sql-store.options.js';
import { StatementConnections } from './statement-connections.js';
import { UnusableConnectionError } from './unusable-connection.js';

/** How many statements look for a connection outside of each transaction. */
const LOOKS = 12;

/** PostgreSQL, through a client that only runs statements. */
export async function openPostgresByStatements(
  executor: StatementExecutor,
  { table, asyncRelease }: SqlStoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  const connections = new StatementConnections(executor, warn);
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
    transactions: new ClientTransactions(executor, throughClient(executor), 'READ COMMITTED'),
    statements: new PostgresLocks(postgresStatements(name, { asyncRelease, weak: table.weak, alone: true })),
    close: async () => undefined,
  };
}

/**
 * Sees to it that the client sends simple queries. Only these can prove that they are a
 * transaction by themselves.
 */
async function assertSimpleQueries(run: Run, { client }: StatementExecutor): Promise<void> {
  const seen = new Map<unknown, unknown>();
  for (let looks = 0; looks < LOOKS; looks++) {
    const [row = {}] = (await run(LOOK)).rows;
    if (row.alone === true) return;
    // A connection in a transaction shows the same beginning each time.
    if (seen.has(row.session) && seen.get(row.session) !== row.begin)
      throw new LockStoreError(
        `${client} prepares its statements, so that they cannot prove that they run outside of a transaction of the application. Leave out the option that names prepared statements (PrismaPg: statementNameGenerator), or give the locks a client of their own: fromPg(pool).`,
      );
    seen.set(row.session, row.begin);
  }
  throw new UnusableConnectionError('transaction');
}

const LOOK = `SELECT statement_timestamp() = transaction_timestamp() AS alone, transaction_timestamp()::text AS begin, pg_backend_pid() AS session`;
