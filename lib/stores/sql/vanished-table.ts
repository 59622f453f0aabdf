import { randomBytes } from 'node:crypto';
import { OPERATION_LIMIT } from '../shared/time-limit.js';
import type { LockDatabase } from './lock-statements.js';
import { createTable, CREATION_LOCK, nameOf, tableName } from './lock-table.ddl.js';
import { missingTable } from './lock-table.js';
import { assertClock } from './mysql/session-settings.js';
import type { Warn } from './sql-executor.js';
import { createTrigger } from './sqlite/sqlite-statements.js';
import { isExistingTable, isMissingTable } from './store-failure.js';

/**
 * Creates the table again, or expects a migration to have done so, and lets no key be granted
 * before the longest ttl has passed.
 *
 * @param longest milliseconds
 * @throws LockStoreError if the table is missing and `autoCreate` is off
 */
export async function replaceTable(
  database: LockDatabase,
  autoCreate: boolean,
  longest: number,
  warn: Warn,
): Promise<void> {
  const name = nameOf(database.table);
  if (autoCreate) await create(database, longest);
  else await beginGrace(database, longest);
  warn(
    'table vanished',
    `The table ${name} disappeared while this process was running, and its locks with it. The table exists again, but holders may still believe in their locks: ` +
      `keys are granted again after ${longest / 1000} s, the longest ttl that this process knows. Locks with ttl Infinity are lost. ` +
      'Look for a tool that drops unknown tables (synchronize(true), dropSchema, drizzle-kit push, prisma db push), and give the table a schema of its own with the option schema. ' +
      `Where no process holds a lock, deleting the row with the empty key from ${name} ends the wait.`,
  );
}

async function create(database: LockDatabase, longest: number): Promise<void> {
  const { kind, table, sessions, statements } = database;
  const ddl = createTable(kind, table);
  const grace = statements.gracePeriod(tableName(kind, table), longest);
  if (kind === 'postgres')
    // A text of several statements is one transaction, at whose end the advisory lock is free
    // again.
    await sessions.use(OPERATION_LIMIT, (run) =>
      run(`SELECT pg_advisory_xact_lock(${CREATION_LOCK}); ${ddl}; ${grace}`),
    );
  else if (kind === 'better-sqlite3')
    await sessions.use(OPERATION_LIMIT, (run) =>
      run(`BEGIN IMMEDIATE; ${ddl}; ${createTrigger(table)}; ${grace}; COMMIT`),
    );
  else await createRenamed(database, longest);
}

/**
 * MySQL commits each DDL statement by itself. So the table is created under another name, gets
 * its row, and is then renamed.
 */
async function createRenamed(database: LockDatabase, longest: number): Promise<void> {
  const { kind, table, sessions, statements } = database;
  const draft = { ...table, table: `nestjs_locked_${randomBytes(6).toString('hex')}` };
  const [name, draftName] = [tableName(kind, table), tableName(kind, draft)];
  await sessions.use(OPERATION_LIMIT, async (run) => {
    await assertClock(run);
    await run(createTable(kind, draft));
    try {
      await run(statements.gracePeriod(draftName, longest));
      await run(`RENAME TABLE ${draftName} TO ${name}`);
    } catch (error) {
      await run(`DROP TABLE IF EXISTS ${draftName}`);
      if (!isExistingTable(error)) throw error;
      await run(statements.gracePeriod(name, longest)); // another process was faster
    }
  });
}

async function beginGrace(database: LockDatabase, longest: number): Promise<void> {
  const { kind, table, sessions, statements } = database;
  try {
    await sessions.use(OPERATION_LIMIT, async (run) => {
      if (kind === 'mysql' || kind === 'mariadb') await assertClock(run);
      return run(statements.gracePeriod(tableName(kind, table), longest));
    });
  } catch (error) {
    throw isMissingTable(error) ? missingTable(kind, table) : error;
  }
}
