import { LockError, LockStoreError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../shared/time-limit.js';
import type { LockDatabase, Run } from './lock-statements.js';
import { columnsIn } from './lock-row.js';
import { createTable, CREATION_LOCK, nameOf, tableName, type LockTable } from './lock-table.ddl.js';
import { literal, missingSchema } from './lock-table.schema.js';
import { createTrigger } from './sqlite/sqlite-statements.js';
import { isMissingSchema, isMissingTable } from './store-failure.js';

/** Sees to it that the table is there with all its columns. DDL is only issued when it is missing: the user may not be allowed to. */
export async function prepareTable(
  database: LockDatabase,
  table: LockTable,
  autoCreate: boolean,
): Promise<void> {
  const ddl = ddlCall(database.kind, table);
  await database.sessions.use(OPERATION_LIMIT, async (run) => {
    let columns = await columnsOf(run, database, table);
    if (!columns) {
      if (!autoCreate) throw missingTable(database.kind, table);
      await create(run, database, table);
      columns = await columnsOf(run, database, table);
    }
    const missing = columnsIn(database.kind).filter((column) => !columns?.includes(column));
    if (missing.length > 0)
      throw new LockStoreError(
        `The table ${nameOf(table)} lacks the columns ${missing.join(', ')}. Add them as ${ddl} has ` +
          'them, or set the option table to another name.',
      );
    if (database.kind === 'postgres') await assertDurability(run, table);
    if (database.kind === 'better-sqlite3') await run(createTrigger(table));
  });
}

/** The error for a table that a migration has to make. */
export function missingTable(kind: LockDatabase['kind'], table: LockTable): LockStoreError {
  return new LockStoreError(
    `The table ${nameOf(table)} is missing, and autoCreate is off. Run a migration made by lockTableMigration(), or the ` +
      `statement that ${ddlCall(kind, table)} or npx nestjs-locked ddl gives.`,
  );
}

/** How a user gets the statement that creates the table. */
function ddlCall(kind: string, { table, schema }: LockTable): string {
  const where = schema === undefined || kind === 'better-sqlite3' ? '' : `, schema: '${schema}'`;
  return `TypeOrmLockStore.ddl('${kind}', { table: '${table}'${where} })`;
}

/** Who believes a lock to be durable must not find it in a table that PostgreSQL empties after a crash. */
async function assertDurability(run: Run, table: LockTable): Promise<void> {
  const name = tableName('postgres', table);
  const { rows } = await run(
    `SELECT c.relpersistence::text AS kept FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      WHERE n.nspname = ${literal(String(table.schema))} AND c.relname = '${table.table}'`,
  );
  const isWeak = rows[0]?.kept !== 'p';
  if (isWeak && !table.weak)
    throw new LockError(
      `The table ${nameOf(table)} is UNLOGGED: a crash of the database empties it. Set the option weak to true if locks may be forgotten then; if not, set the option table to another name, or run ALTER TABLE ${name} SET LOGGED.`,
    );
  if (!isWeak && table.weak)
    throw new LockError(
      `The table ${nameOf(table)} is not UNLOGGED, as weak locks need it. Set the option table to another name, or run ALTER TABLE ${name} SET UNLOGGED; or leave out the option weak.`,
    );
}

async function columnsOf(run: Run, { kind }: LockDatabase, table: LockTable): Promise<string[] | undefined> {
  try {
    return (await run(`SELECT * FROM ${tableName(kind, table)} WHERE 1 = 0`)).columns;
  } catch (error) {
    if (isMissingTable(error)) return undefined;
    throw isMissingSchema(error) ? missingSchema(table, error) : error;
  }
}

async function create(run: Run, { kind }: LockDatabase, table: LockTable): Promise<void> {
  const ddl = createTable(kind, table);
  try {
    // A text of two statements is one transaction, at whose end the advisory lock is free again.
    await run(kind === 'postgres' ? `SELECT pg_advisory_xact_lock(${CREATION_LOCK}); ${ddl}` : ddl);
  } catch (error) {
    throw isMissingSchema(error) ? missingSchema(table, error) : error;
  }
}
