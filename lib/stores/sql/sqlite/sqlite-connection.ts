import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer } from '../lock-statements.js';
import { isContention } from '../store-failure.js';

/** What is used of better-sqlite3. */
export interface Sqlite {
  readonly inTransaction?: boolean;
  prepare(sql: string): SqliteStatement;
  /** Runs a text of several statements. */
  exec(sql: string): void;
  pragma(pragma: string, options?: { simple: boolean }): unknown;
  close(): void;
}

export interface SqliteStatement {
  reader: boolean;
  all(...values: unknown[]): Record<string, unknown>[];
  run(...values: unknown[]): { changes: number };
  columns(): { name: string }[];
}

/**
 * Reads the value of a pragma. better-sqlite3 gives the value itself; replacements such as
 * libsql give a row.
 */
export function pragmaOf(connection: Sqlite, pragma: string): unknown {
  const found = connection.pragma(pragma, { simple: true });
  const row: unknown = Array.isArray(found) ? found[0] : found;
  return typeof row === 'object' && row !== null ? Object.values(row)[0] : row;
}

export function answerOf(statement: SqliteStatement, values: readonly unknown[] = []): Answer {
  const none = { rows: [], columns: [], affected: 0, insertId: 0 };
  if (!statement.reader) return { ...none, affected: statement.run(...values).changes };
  // All rows at once: a statement that is left open in the middle could not be used by the next caller.
  const rows = statement.all(...values);
  return { ...none, rows, columns: statement.columns().map((column) => column.name) };
}

/**
 * Tries again, between turns of the event loop, what found the file busy; after the deadline it fails with what it found.
 *
 * Also without a wait between them no two callers get in each other's way: better-sqlite3 runs a statement to its end.
 */
export async function untilFree<T>(
  deadline: number,
  attempt: () => T,
  isBusy: (error: unknown) => boolean = isContention,
): Promise<T> {
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadline) throw error;
    }
    await sleep(2 + Math.random() * 10);
  }
}
