import { randomBytes } from 'node:crypto';
import { OPERATION_LIMIT } from '../time-limit.js';
import type { LockDatabase } from './lock-dialect.js';
import { createTable, CREATING, tableName } from './lock-table.ddl.js';
import { missingTable } from './lock-table.js';
import { assertClock } from './mysql.clock.js';
import type { Warn } from './pooled-sessions.js';
import { createTrigger } from './sqlite.tokens.js';
import { isExistingTable, isMissingTable } from './store-failure.js';
import { ageStatement } from './table-age.js';
import { nameOf } from './typeorm-store.options.js';

/**
 * Makes the table again, or waits for a migration that does, and has no key granted before the longest ttl has passed.
 *
 * @param longest milliseconds
 * @throws LockStoreError without `autoCreate`, while the table is missing
 */
export async function replaceTable(
  database: LockDatabase,
  autoCreate: boolean,
  longest: number,
  warn: Warn,
): Promise<void> {
  const name = nameOf(database.table);
  if (autoCreate) await create(database, longest);
  else await markAge(database, longest);
  warn(
    'table vanished',
    `The table ${name} disappeared while this process was running, and its locks with it. It is there again, but holders may still believe in their locks: ` +
      `keys are granted again after ${longest / 1000} s, the longest ttl that this process knows. Locks with ttl Infinity are lost. ` +
      'Look for a tool that drops tables which it does not know (synchronize(true), dropSchema, drizzle-kit push, prisma db push), and give the table a schema of its own: the option schema. ' +
      `Where no process holds a lock, deleting the row with the empty key from ${name} ends the wait.`,
  );
}

async function create(database: LockDatabase, longest: number): Promise<void> {
  const { kind, table, sessions } = database;
  const ddl = createTable(kind, table);
  const age = ageStatement(database, table, longest);
  if (kind === 'postgres')
    // A text of several statements is one transaction, at whose end the advisory lock is free again.
    await sessions.use(OPERATION_LIMIT, (run) =>
      run(`SELECT pg_advisory_xact_lock(${CREATING}); ${ddl}; ${age}`),
    );
  else if (kind === 'better-sqlite3')
    await sessions.use(OPERATION_LIMIT, (run) =>
      run(`BEGIN IMMEDIATE; ${ddl}; ${createTrigger(table)}; ${age}; COMMIT`),
    );
  else await createRenamed(database, longest);
}

/** MySQL commits each DDL statement by itself: the table gets its row under another name, and then its own. */
async function createRenamed(database: LockDatabase, longest: number): Promise<void> {
  const { kind, table, sessions } = database;
  const draft = { ...table, table: `nestjs_locked_${randomBytes(6).toString('hex')}` };
  const [name, draftName] = [tableName(kind, table), tableName(kind, draft)];
  await sessions.use(OPERATION_LIMIT, async (run) => {
    await assertClock(run);
    await run(createTable(kind, draft));
    try {
      await run(ageStatement(database, draft, longest));
      await run(`RENAME TABLE ${draftName} TO ${name}`);
    } catch (error) {
      await run(`DROP TABLE IF EXISTS ${draftName}`);
      if (!isExistingTable(error)) throw error;
      await run(ageStatement(database, table, longest)); // another process was faster
    }
  });
}

async function markAge(database: LockDatabase, longest: number): Promise<void> {
  const { kind, table, sessions } = database;
  try {
    await sessions.use(OPERATION_LIMIT, async (run) => {
      if (kind === 'mysql' || kind === 'mariadb') await assertClock(run);
      return run(ageStatement(database, table, longest));
    });
  } catch (error) {
    throw isMissingTable(error) ? missingTable(kind, table) : error;
  }
}
