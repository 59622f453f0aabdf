import { setTimeout as sleep } from 'node:timers/promises';
import { show, LockStoreError } from '../../../lock.errors.js';
import { safeError } from '../../../safe-error.js';
import type { Answer, SqlConnections, Run } from '../lock-statements.js';
import type { SqliteFile } from '../sql-executor.js';
import { isContention } from '../store-failure.js';

/** The members of better-sqlite3 that the store uses. */
export interface Sqlite {
  readonly inTransaction?: boolean;
  prepare(sql: string): SqliteStatement;
  /** Runs several statements that are in one text. */
  exec(sql: string): void;
  pragma(pragma: string, options?: { simple: boolean }): unknown;
  close(): void;
}

/** A client with its file, and a function that opens another connection to the file. */
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
 * The store's own connection to the application's file. On the application's single
 * connection, a rollback of the application would undo locks.
 *
 * While it waits for another writer, better-sqlite3 would block the event loop. So the store
 * itself repeats a statement until the file is free, and lets the event loop turn in between.
 */
export class SqliteOwnConnection implements SqlConnections {
  private readonly statements = new Map<string, SqliteStatement>();
  private unfinished = 0;

  private constructor(
    private readonly connection: Sqlite,
    private readonly source: SqliteSource,
  ) {}

  /** @param options `weak`: locks do not have to survive a crash of the machine */
  static async open(source: SqliteSource, { weak }: { weak: boolean }): Promise<SqliteOwnConnection> {
    const file = source.sqlite?.file;
    if (typeof file !== 'string' || file === '' || file === ':memory:') {
      throw new LockStoreError(
        `SQLite locks need a database file, but the database of ${source.client} is ${show(file)}, which no other connection can see. ` +
          'Give it a file, or use memoryStore().',
      );
    }
    const connection = (await source.createConnection({ timeout: 0 })) as Sqlite;
    const own = new SqliteOwnConnection(connection, source);
    try {
      if (connection.inTransaction)
        throw new LockStoreError(
          'The new connection is already in a transaction, so no other process would see a lock. Look at the functions that prepare new connections, such as prepareDatabase of a DataSource: one of them leaves a transaction open.',
        );
      // Even the first read may find the file busy, for example while SQLite recovers it after
      // a crash.
      const deadline = performance.now() + OPEN_LIMIT;
      await own.untilFree(deadline, () => own.assertVersion());
      connection.pragma('busy_timeout = 0');
      await own.useWriteAheadLog(file, deadline);
      // With a write-ahead log and NORMAL, a crash loses only the last commits. OFF could
      // damage the application's file.
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

  /** Whether statements of the store wait until the file is free. */
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
      "The application's own connection has an open transaction on this SQLite file, and only one connection can write at a time. " +
        'Acquire the lock before the transaction, and release it afterwards.',
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
   * Runs a text from BEGIN to COMMIT in one call. Between two calls, other operations of this
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
 * Reads the value of a pragma. better-sqlite3 returns the value itself, but replacements such
 * as libsql return a row.
 */
export function pragmaOf(connection: Sqlite, pragma: string): unknown {
  const found = connection.pragma(pragma, { simple: true });
  const row: unknown = Array.isArray(found) ? found[0] : found;
  return typeof row === 'object' && row !== null ? Object.values(row)[0] : row;
}

export function answerOf(statement: SqliteStatement, values: readonly unknown[] = []): Answer {
  const none = { rows: [], columns: [], affected: 0, insertId: 0 };
  if (!statement.reader) return { ...none, affected: statement.run(...values).changes };
  // All rows are read at once: while a statement is open, the next caller could not use it.
  const rows = statement.all(...values);
  return { ...none, rows, columns: statement.columns().map((column) => column.name) };
}

/**
 * Repeats an attempt while the file is busy, and lets the event loop turn in between. After
 * the deadline it rejects with the last error.
 *
 * Callers in one process never find the file busy because of each other, since better-sqlite3
 * runs each statement to its end.
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
