import { setTimeout as sleep } from 'node:timers/promises';
import { show, LockStoreError } from '../../../lock.errors.js';
import { safeError } from '../../../safe-error.js';
import type { Answer, SqlConnections, Run } from '../lock-statements.js';
import type { SqliteFile } from '../sql-executor.js';
import { isContention } from '../store-failure.js';

/** The members used of better-sqlite3. */
export interface Sqlite {
  readonly inTransaction?: boolean;
  prepare(sql: string): SqliteStatement;
  /** Runs a text of several statements. */
  exec(sql: string): void;
  pragma(pragma: string, options?: { simple: boolean }): unknown;
  close(): void;
}

/** A client, and how its file is opened once more. */
export interface SqliteSource {
  client: string;
  sqlite?: SqliteFile | undefined;
  createConnection(settings: object): Promise<unknown>;
}

export interface SqliteStatement {
  reader: boolean;
  all(...values: unknown[]): Record<string, unknown>[];
  run(...values: unknown[]): { changes: number };
  columns(): { name: string }[];
}

const LONGEST_PATIENCE = 5_000;
const OPEN_LIMIT = 10_000;

/**
 * A connection of the store's own to the application's file. The application has a single
 * connection, on which a rollback would take locks away.
 *
 * better-sqlite3 would stop the event loop while it waits for another writer. So the store
 * waits by itself, between turns of the event loop.
 */
export class SqliteOwnConnection implements SqlConnections {
  private readonly statements = new Map<string, SqliteStatement>();
  private unfinished = 0;

  private constructor(
    private readonly connection: Sqlite,
    private readonly source: SqliteSource,
  ) {}

  /** @param options `weak`: a lock that was granted need not survive a crash of the machine */
  static async open(source: SqliteSource, { weak }: { weak: boolean }): Promise<SqliteOwnConnection> {
    const file = source.sqlite?.file;
    if (typeof file !== 'string' || file === '' || file === ':memory:') {
      throw new LockStoreError(
        `SQLite locks need a database file, but the database of ${source.client} is ${show(file)}: no other connection can see it. ` +
          'Give it a file, or use memoryStore().',
      );
    }
    const connection = (await source.createConnection({ timeout: 0 })) as Sqlite;
    const own = new SqliteOwnConnection(connection, source);
    try {
      if (connection.inTransaction)
        throw new LockStoreError(
          'The new connection is in a transaction already: no other process would see a lock. What is run on new connections, such as prepareDatabase of a DataSource, leaves a transaction open.',
        );
      // Even the first read can find the file busy, such as with the recovery after a crash.
      const deadline = performance.now() + OPEN_LIMIT;
      await own.untilFree(deadline, () => own.assertVersion());
      connection.pragma('busy_timeout = 0');
      await own.useWriteAheadLog(file, deadline);
      // OFF would risk the application's file: with a write-ahead log, NORMAL loses the last
      // commits and nothing else.
      const synchronous = weak ? 'NORMAL' : 'FULL';
      await own.untilFree(deadline, () => connection.pragma(`synchronous = ${synchronous}`));
      return own;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  use<T>(limit: number, work: (run: Run) => Promise<T>): Promise<T> {
    const deadline = performance.now() + Math.min(limit * 0.75, LONGEST_PATIENCE);
    return work((sql, values) => this.untilFree(deadline, () => this.execute(sql, values)));
  }

  async runTogether(limit: number, statements: readonly string[]): Promise<void> {
    await this.use(limit, (run) => run(`BEGIN IMMEDIATE; ${statements.join('; ')}; COMMIT`));
  }

  close(): void {
    this.connection.close();
  }

  /** Whether statements wait until the file is free. */
  get hasWaiting(): boolean {
    return this.unfinished > 0;
  }

  private assertVersion(): void {
    const version = String(this.execute('SELECT sqlite_version() AS version').rows[0]?.version);
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major < 3 || (major === 3 && minor < 35))
      throw new LockStoreError(
        `Locks need SQLite 3.35 or newer, but this is ${version}. Update better-sqlite3.`,
      );
  }

  private async useWriteAheadLog(file: string, deadline: number): Promise<void> {
    const mode = await this.untilFree(deadline, () => pragmaOf(this.connection, 'journal_mode = WAL'));
    if (mode === 'wal') return;
    throw new LockStoreError(
      `SQLite locks need the write-ahead log, but ${file} stays in journal mode ${String(mode)}. Put the file on a local disk.`,
    );
  }

  private async untilFree<T>(deadline: number, attempt: () => T): Promise<T> {
    this.unfinished++;
    try {
      return await untilFree(deadline, attempt);
    } catch (error) {
      throw isContention(error) ? this.explain(error) : error;
    } finally {
      this.unfinished--;
    }
  }

  private explain(busy: unknown): unknown {
    if (!this.source.sqlite?.inTransaction) return busy;
    return new LockStoreError(
      "The application's own connection has an open transaction on this SQLite file, and only one connection can write. " +
        'Acquire before the transaction, and release after it.',
      { cause: safeError(busy), transient: true },
    );
  }

  private execute(sql: string, values?: readonly unknown[]): Answer {
    if (!values && sql.startsWith('BEGIN')) return this.transact(sql);
    const statement = this.statements.get(sql) ?? this.connection.prepare(sql);
    if (values) this.statements.set(sql, statement);
    return answerOf(statement, values);
  }

  /**
   * Runs a text from BEGIN to COMMIT in one step: between two steps, other operations of this
   * process would join the transaction.
   */
  private transact(sql: string): Answer {
    try {
      this.connection.exec(sql);
    } catch (error) {
      if (this.connection.inTransaction) this.connection.exec('ROLLBACK');
      throw error;
    }
    return { rows: [], columns: [], affected: 0, insertId: 0 };
  }
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
  // It reads all rows at once: the next caller could not use a statement that is still open.
  const rows = statement.all(...values);
  return { ...none, rows, columns: statement.columns().map((column) => column.name) };
}

/**
 * Tries again, between turns of the event loop, what found the file busy; after the deadline
 * it fails with what it found.
 *
 * Also without a wait between them no two callers get in each other's way: better-sqlite3 runs
 * a statement to its end.
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
