import { OPERATION_LIMIT } from '../../shared/operation-limit.js';
import type { LockDatabase } from '../lock-statements.js';
import { tableName } from '../lock-table.ddl.js';
import { resolveTable } from '../lock-table.schema.js';
import { PooledConnections, PooledTransactions } from '../pooled-connections.js';
import { assertAutocommit, mysqlServer } from '../server-checks.js';
import type { DriverExecutor, Warn } from '../sql-executor.js';
import type { SqlStoreSettings } from '../sql-store.options.js';
import { MysqlLocks } from './mysql-locks.js';
import { Mysql2Driver, type Mysql2Connection } from './mysql2-driver.js';

/** Opens MySQL or MariaDB through a client that lends its connections. */
export async function openMysql(
  executor: DriverExecutor<Mysql2Connection>,
  { table, preparedStatements }: SqlStoreSettings,
  warn: Warn,
): Promise<LockDatabase> {
  tableName(executor.type, table); // throws an error for the option `weak`
  const driver = new Mysql2Driver({ prepared: preparedStatements, warn });
  const connections = new PooledConnections(executor, driver, warn);
  const { rows } = await connections.look('SELECT VERSION() AS version, @@GLOBAL.autocommit AS autocommit');
  const { mariadb, atLeast } = mysqlServer(String(rows[0]?.version));
  assertAutocommit(rows[0]?.autocommit);
  const resolved = await connections.use(OPERATION_LIMIT, (run) =>
    resolveTable(executor, table, async (sql) => (await run(sql)).rows),
  );
  return {
    kind: mariadb ? 'mariadb' : 'mysql',
    table: resolved,
    connections,
    // On MySQL the isolation level stays that of the application, since the format of the
    // binary log may forbid READ COMMITTED.
    transactions: new PooledTransactions(executor, driver, warn, mariadb ? 'READ COMMITTED' : undefined),
    statements: new MysqlLocks(tableName(executor.type, resolved), {
      mariadb,
      skipsLocked: mariadb ? atLeast(10, 6) : atLeast(8, 0),
      logsStatements: await logsStatements(connections),
    }),
    close: async () => undefined,
  };
}

/**
 * Whether the binary log of MySQL or MariaDB records statements instead of rows. It sends SHOW
 * VARIABLES, which does not fail on servers that lack the variable.
 */
async function logsStatements(connections: PooledConnections<Mysql2Connection>): Promise<boolean> {
  const { rows } = await connections.look(
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')",
  );
  const values = rows.map(({ Value }) => String(Value));
  return values.includes('ON') && values.includes('STATEMENT');
}
