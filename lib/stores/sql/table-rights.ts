import { randomBytes } from 'node:crypto';
import { LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { OPERATION_LIMIT } from '../shared/time-limit.js';
import type { LockDatabase, Run } from './lock-statements.js';
import { NEVER } from './lock-row.js';
import { nameOf, tableName, type LockTable } from './lock-table.ddl.js';
import { isContention, isDenied, isNotLoggable } from './store-failure.js';

/** Rolls back the transaction of the check. */
class RolledBack extends Error {}

/**
 * Inserts, changes and reads a row as locks do, and rolls that back. So a missing right fails
 * the start, and not the first lock.
 *
 * @throws LockStoreError that names the missing right
 */
export async function assertRights(database: LockDatabase): Promise<void> {
  const { kind, table, sessions, transactions } = database;
  const name = tableName(kind, table);
  try {
    if (kind === 'better-sqlite3')
      // The statement changes nothing, but needs a file that can be written.
      return await sessions.use(OPERATION_LIMIT, async (run) => {
        await run(`UPDATE ${name} SET token = token WHERE FALSE`);
      });
    await transactions.run(async (transaction) => {
      await transactions.within(transaction, 'try the rights', (run) => tryRow(run, database, name));
      throw new RolledBack();
    });
  } catch (error) {
    // A collision, or a transaction that cannot be logged, says nothing about rights.
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

/** The error for a missing right, which the message of the server names. */
export function missingRight(table: LockTable, denied: unknown): LockStoreError {
  const cause = safeError(denied);
  return new LockStoreError(
    `A right for the table ${nameOf(table)} is missing: ${cause instanceof Error ? cause.message : 'it cannot be written'}. Locks need SELECT, INSERT and UPDATE on it, purge also DELETE, and autoCreate the right to create it; ` +
      'on SQLite the process must be able to write the file and its folder.',
    { cause },
  );
}
