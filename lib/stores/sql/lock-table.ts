import { randomBytes } from 'node:crypto';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import { columnsIn, NEVER } from './lock-row.js';
import type { LockDatabase, Run } from './lock-statements.js';
import { createTable, CREATION_LOCK, nameOf, tableName, type LockTable } from './lock-table.ddl.js';
import { literal, missingSchema } from './lock-table.schema.js';
import { assertClock } from './mysql/session-settings.js';
import type { Warn } from './sql-executor.js';
import { createTrigger } from './sqlite/sqlite-statements.js';
import {
  isContention,
  isDenied,
  isExistingTable,
  isMissingSchema,
  isMissingTable,
  isNotLoggable,
} from './store-failure.js';

/**
 * Makes sure that the table exists with all its columns. It sends DDL only if the table is
 * missing, since the user may lack the right to create tables.
 */
export async function prepareTable(database: LockDatabase, autoCreate: boolean): Promise<void> {
  const { kind, table, connections } = database;
  const readColumns = () => connections.use(OPERATION_LIMIT, (run) => columnsOf(run, database));
  let columns = await readColumns();
  if (!columns) {
    if (!autoCreate) throw missingTable(database);
    await create(database);
    columns = await readColumns();
  }
  const missing = columnsIn(kind).filter((column) => !columns?.includes(column));
  if (missing.length > 0)
    throw new LockStoreError(
      `The table ${nameOf(table)} lacks the columns ${missing.join(', ')}. Add them as in ${ddlCall(database)}, ` +
        'or set the option table to another name.',
    );
  if (kind !== 'postgres' && kind !== 'better-sqlite3') return;
  await connections.use(OPERATION_LIMIT, async (run) => {
    if (kind === 'postgres') await assertDurability(run, table);
    else await run(createTrigger(table));
  });
}

/** Returns the error for a table that is missing because a migration has to create it. */
function missingTable(database: LockDatabase): LockStoreError {
  return new LockStoreError(
    `The table ${nameOf(database.table)} is missing, and autoCreate is off. Run a migration with the statement ` +
      `that npx nestjs-locked ddl or ${ddlCall(database)} returns; with TypeORM, use lockTableMigration().`,
  );
}

/**
 * Returns, for messages, the call of `ddl` that returns the statement for creating the table.
 */
function ddlCall({ kind, table: { table, schema } }: LockDatabase): string {
  const where = schema === undefined || kind === 'better-sqlite3' ? '' : `, schema: '${schema}'`;
  return `SqlLockStore.ddl('${kind}', { table: '${table}'${where} })`;
}

/**
 * Checks that the table is as durable as the option `weak` says. Without `weak`, it refuses an
 * UNLOGGED table, which PostgreSQL empties after a crash; with `weak`, it refuses a logged
 * table.
 */
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
      `The table ${nameOf(table)} is not UNLOGGED, but weak locks need that. Set the option table to another name, or run ALTER TABLE ${name} SET UNLOGGED; or leave out the option weak.`,
    );
}

/**
 * Reads the names of the columns; `undefined` if the table is missing. The query returns a row
 * of nulls, since some clients return the names only with a row.
 */
async function columnsOf(run: Run, { kind, table }: LockDatabase): Promise<string[] | undefined> {
  const sql = `SELECT t.* FROM (SELECT 1) AS one LEFT JOIN ${tableName(kind, table)} AS t ON 1 = 0`;
  try {
    return (await run(sql)).columns;
  } catch (error) {
    if (isMissingTable(error)) return undefined;
    throw isMissingSchema(error) ? missingSchema(table, error) : error;
  }
}

/**
 * Takes an advisory lock until the end of the transaction, so that no other process creates
 * the table meanwhile.
 */
const LOCK_CREATION = `SELECT pg_advisory_xact_lock(${CREATION_LOCK})::text AS locked`;

async function create({ kind, table, connections }: LockDatabase): Promise<void> {
  const ddl = createTable(kind, table);
  try {
    if (kind === 'postgres') await connections.runTogether(OPERATION_LIMIT, [LOCK_CREATION, ddl]);
    else await connections.use(OPERATION_LIMIT, (run) => run(ddl));
  } catch (error) {
    throw isMissingSchema(error) ? missingSchema(table, error) : error;
  }
}

/** Rolls back the transaction of the check, and is not a failure. */
class RolledBack extends Error {}

/**
 * Inserts, changes and reads a row like that of a lock, and rolls back. So a missing right is
 * found at start, and not with the first lock.
 *
 * @throws LockStoreError that names the missing right
 */
export async function assertRights(database: LockDatabase): Promise<void> {
  const { kind, table, connections, transactions } = database;
  const name = tableName(kind, table);
  try {
    if (kind === 'better-sqlite3')
      // On SQLite the statement changes no row, but it fails if the file cannot be written.
      return await connections.use(OPERATION_LIMIT, async (run) => {
        await run(`UPDATE ${name} SET token = token WHERE FALSE`);
      });
    if (!transactions) return;
    await transactions.run(async (transaction) => {
      await transactions.within(transaction, 'try the rights', (run) => tryRow(run, database, name));
      throw new RolledBack();
    }, OPERATION_LIMIT);
  } catch (error) {
    // After a collision, or in a transaction that the server cannot log, the check does not
    // know whether a right is missing, so it passes.
    if (error instanceof RolledBack || isContention(error) || isNotLoggable(error)) return;
    throw isDenied(error) ? missingRight(table, error) : error;
  }
}

async function tryRow(run: Run, { kind, table }: LockDatabase, name: string): Promise<void> {
  const postgres = kind === 'postgres';
  const key = `nestjs-locked-${randomBytes(12).toString('hex')}`;
  const column = postgres ? 'key' : '`key`';
  const which = `${column} = '${key}'`;
  await run(
    `INSERT INTO ${name} (${column}, owner, token, expires_ms) VALUES ('${key}', 'rights', 0, ${NEVER})`,
  );
  const mine = postgres ? `key = (SELECT key FROM ${name} WHERE ${which} FOR UPDATE SKIP LOCKED)` : which;
  const changed = await run(`UPDATE ${name} SET renewed_ms = 1 WHERE ${mine}`);
  const found = await run(`SELECT ${column} FROM ${name} WHERE ${which}`);
  const hidden = [found.rows.length === 0 && 'SELECT', changed.affected === 0 && 'UPDATE'].filter(Boolean);
  if (hidden.length > 0)
    throw new LockStoreError(
      `Row-level security of the table ${nameOf(table)} hides the rows of locks from this user. Add a policy for ${hidden.join(' and ')}, as in CREATE POLICY … ON ${name} FOR ALL USING (true).`,
    );
}

/**
 * Returns the error for a missing right. The server's message, which is part of it, names the
 * right.
 */
export function missingRight(table: LockTable, denied: unknown): LockStoreError {
  const cause = safeError(denied);
  return new LockStoreError(
    `A right for the table ${nameOf(table)} is missing: ${cause instanceof Error ? cause.message : 'it cannot be written'}. Locks need SELECT, INSERT and UPDATE on it, purge also DELETE, and autoCreate the right to create it; ` +
      'on SQLite the process must be able to write the file and its folder.',
    { cause },
  );
}

/** Replaces the lock table after it has disappeared. */
export class TableReplacement {
  /** Whether the table has disappeared and has not been replaced yet. */
  isDue = false;
  private replacing: Promise<void> | undefined;

  constructor(
    private readonly autoCreate: boolean,
    private readonly warn: Warn,
  ) {}

  /**
   * Replaces the table. All operations that find it missing wait for the same replacement.
   *
   * @param longest milliseconds for which holders may still believe in locks of the old table
   */
  async make(database: LockDatabase, longest: number): Promise<void> {
    this.isDue = true;
    this.replacing ??= replaceTable(database, this.autoCreate, longest, this.warn).finally(
      () => (this.replacing = undefined),
    );
    await this.replacing;
    this.isDue = false;
  }
}

/**
 * Creates the table again if `autoCreate` is on; otherwise a migration must have done so. Then
 * starts the grace period, during which no key is granted.
 *
 * @param longest milliseconds from the creation of the table to the end of the grace period
 * @throws LockStoreError if the table is missing and `autoCreate` is off
 */
async function replaceTable(
  database: LockDatabase,
  autoCreate: boolean,
  longest: number,
  warn: Warn,
): Promise<void> {
  const { kind, table, connections, statements } = database;
  const grace = statements.gracePeriod(tableName(kind, table), longest);
  const ddl = createTable(kind, table);
  const isMysql = kind === 'mysql' || kind === 'mariadb';
  const replace = async (): Promise<void> => {
    if (isMysql)
      return connections.use(OPERATION_LIMIT, async (run) => {
        await assertClock(run);
        if (autoCreate) await createRenamed(run, database, longest);
        else await run(grace);
      });
    const creation = kind === 'postgres' ? [LOCK_CREATION, ddl] : [ddl, createTrigger(table)];
    await connections.runTogether(OPERATION_LIMIT, [...(autoCreate ? creation : []), grace]);
  };
  await replace().catch((error: unknown) => {
    throw !autoCreate && isMissingTable(error) ? missingTable(database) : error;
  });
  const name = nameOf(table);
  warn(
    'table vanished',
    `The table ${name} disappeared while this process was running, and its locks with it. The table exists again, but holders may still believe in their locks, so ` +
      `keys are granted again only after ${longest / 1000} s, the longest ttl that this process knows. Locks with ttl Infinity are lost. ` +
      'Look for a tool that drops unknown tables (synchronize(true), dropSchema, drizzle-kit push, prisma db push), and give the table a schema of its own with the option schema. ' +
      `If no process holds a lock, delete the row with the empty key from ${name} to end the wait.`,
  );
}

/**
 * Creates the table under a temporary name, inserts the row of the grace period, and then
 * renames the table. MySQL commits each DDL statement at once, and other processes must not
 * see the table before it has this row.
 */
async function createRenamed(run: Run, database: LockDatabase, longest: number): Promise<void> {
  const { kind, table, statements } = database;
  const draft = { ...table, table: `nestjs_locked_${randomBytes(6).toString('hex')}` };
  const [name, draftName] = [tableName(kind, table), tableName(kind, draft)];
  await run(createTable(kind, draft));
  try {
    await run(statements.gracePeriod(draftName, longest));
    await run(`RENAME TABLE ${draftName} TO ${name}`);
  } catch (error) {
    await run(`DROP TABLE IF EXISTS ${draftName}`);
    if (!isExistingTable(error)) throw error;
    // Another process has created the table meanwhile.
    await run(statements.gracePeriod(name, longest));
  }
}
