import { resolve } from 'node:path';
import { LockError } from '../../lock.errors.js';
import { loadPackage } from '../shared/opening.js';
import { kindOf } from '../sql/client-kinds.js';
import type { DriverExecutor, SqliteFile } from '../sql/sql-executor.js';
import type { Sqlite } from '../sql/sqlite/sqlite-connection.js';

/** The members used of a database of better-sqlite3. @publicApi */
export interface BetterSqlite3Database {
  readonly open: boolean;
  readonly readonly: boolean;
  readonly inTransaction: boolean;
  pragma(pragma: string): unknown;
}

type DatabaseClass = new (file: string, settings: object) => Sqlite;

/**
 * Runs SQL on a file of SQLite through better-sqlite3, on a connection of the store's own: a
 * lock would be undone by a rollback on that of the application.
 *
 * Transactions of better-sqlite3 are synchronous, so there is no `lock.transaction()` and no
 * `lock.guard()`. The key of an encrypted file is known to the application's connection alone:
 * keep the locks in another file.
 *
 * @param databaseOrPath the application's database; or the path of the file, which is created
 * if it is missing
 * @throws LockError for anything else, and for a database that is in memory, closed or
 * read-only
 * @publicApi
 */
export function fromBetterSqlite3(
  databaseOrPath: BetterSqlite3Database | string,
): DriverExecutor<unknown, never> {
  return typeof databaseOrPath === 'string'
    ? new BetterSqlite3Executor(fileAt(databaseOrPath))
    : new BetterSqlite3Executor(fileOf(databaseOrPath), databaseOrPath);
}

class BetterSqlite3Executor implements DriverExecutor<Sqlite, never> {
  readonly client = 'better-sqlite3';
  readonly type = 'better-sqlite3';
  readonly schema = undefined;
  readonly poolSize = 1;
  readonly hasSynchronousTransactions = true;

  /** @param file absolute, since the process may change its folder */
  constructor(
    private readonly file: string,
    private readonly database?: BetterSqlite3Database,
  ) {}

  get description(): string {
    return `${this.type} file ${this.file}`;
  }

  get sqlite(): SqliteFile {
    return { file: this.file, inTransaction: this.database?.inTransaction === true };
  }

  async createConnection(settings: object): Promise<Sqlite> {
    // Another copy of the package could not be loaded, or be one for encrypted files.
    if (this.database) return new (this.database.constructor as DatabaseClass)(this.file, settings);
    const { default: Database } = await loadPackage(
      'fromBetterSqlite3(path)',
      'better-sqlite3',
      'better-sqlite3',
      () => import('better-sqlite3'),
    );
    return new Database(this.file, settings);
  }

  async borrow(): Promise<never> {
    throw synchronous('lend its connection');
  }

  opensNew(): boolean {
    return false;
  }

  async connectionOf(_: unknown, doing: string): Promise<never> {
    throw synchronous(doing);
  }

  watchTransaction(): () => boolean {
    return () => false;
  }

  async close(): Promise<void> {}
}

function synchronous(doing: string): LockError {
  return new LockError(`Could not ${doing}: the transactions of better-sqlite3 are synchronous.`);
}

function fileAt(path: string): string {
  if (/^\w{2,}:/.test(path))
    throw new LockError('fromBetterSqlite3() needs the path of a file, but it got a URL.');
  const file = path.trim();
  if (file === '' || file === ':memory:') throw inMemory();
  return resolve(file);
}

function fileOf(database: BetterSqlite3Database): string {
  const { open, pragma } = Object(database) as Partial<BetterSqlite3Database>;
  if (typeof pragma !== 'function' || typeof open !== 'boolean')
    throw new LockError(
      `fromBetterSqlite3() needs a database of better-sqlite3 or the path of a file, but it got ${kindOf(database)}.`,
    );
  if (!open)
    throw new LockError(
      'fromBetterSqlite3() needs an open database, but this one was closed. Close it when the application closes, or pass the path of the file.',
    );
  // SQLite knows the file with its folder, also if the process has changed its own since.
  const [main] = database.pragma('database_list') as { name: string; file: string }[];
  if (!main?.file) throw inMemory();
  if (database.readonly)
    throw new LockError(
      `fromBetterSqlite3() needs a database that takes writes, but ${main.file} was opened read-only. Pass the path of a file that can be written.`,
    );
  return main.file;
}

function inMemory(): LockError {
  return new LockError(
    'SQLite locks need a database file, but this database is in memory, or a temporary one: no other connection can see it. Give it a file, or use memoryStore().',
  );
}
