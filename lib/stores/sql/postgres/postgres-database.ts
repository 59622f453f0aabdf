import { OPERATION_LIMIT } from '../../shared/operation-limit.js';
import type { LockDatabase, OnReleased } from '../lock-statements.js';
import { tableName } from '../lock-table.ddl.js';
import { resolveTable } from '../lock-table.schema.js';
import { PooledConnections, PooledTransactions } from '../pooled-connections.js';
import { assertPostgres } from '../server-checks.js';
import type { DriverExecutor, Warn } from '../sql-executor.js';
import type { SqlStoreSettings } from '../sql-store.options.js';
import { PgDriver, type PgClient } from './pg-driver.js';
import { openPostgresLink } from './postgres-link.js';
import { PostgresLocks } from './postgres-locks.js';
import { postgresStatements } from './postgres-statements.js';
import { PostgresWakeUps } from './wake-ups.js';

/**
 * After how many milliseconds without traffic the operating system checks the connection for
 * notifications.
 */
const LISTENING_KEEP_ALIVE = 10_000;

/** Opens PostgreSQL through a client that lends its connections. */
export async function openPostgres(
  executor: DriverExecutor<PgClient>,
  { table, asyncRelease, preparedStatements, wakeUps }: SqlStoreSettings,
  onReleased: OnReleased,
  warn: Warn,
): Promise<LockDatabase> {
  const driver = new PgDriver({ named: preparedStatements, warn });
  const connections = new PooledConnections(executor, driver, warn);
  const resolved = await connections.use(OPERATION_LIMIT, async (run) => {
    assertPostgres(await driver.readVersion(run));
    return resolveTable(executor, table, async (sql) => (await run(sql)).rows);
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
