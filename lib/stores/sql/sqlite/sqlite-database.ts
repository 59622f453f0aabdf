import type { LockDatabase, SqlTransactions } from '../lock-statements.js';
import { tableName, type LockTable } from '../lock-table.ddl.js';
import { resolveTable } from '../lock-table.schema.js';
import type { DriverExecutor, StatementExecutor } from '../sql-executor.js';
import { SqliteClientTransactions, sourceOf } from './sqlite-client.js';
import { SqliteOwnConnection, type Sqlite } from './sqlite-connection.js';
import { SqliteLocks } from './sqlite-locks.js';
import { SqliteTransactions } from './sqlite-transactions.js';

/** Opens an SQLite file on a connection of the store. */
export async function openSqlite(
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

/** Returns the transactions of a client; `undefined` if they are synchronous. */
function sqliteTransactionsOf(
  executor: DriverExecutor<Sqlite> | StatementExecutor,
  table: string,
  own: SqliteOwnConnection,
): SqlTransactions | undefined {
  if (!('borrow' in executor)) return new SqliteClientTransactions(executor, table, own);
  return executor.hasSynchronousTransactions ? undefined : new SqliteTransactions(executor, table, own);
}
