import { resolve } from 'node:path';
import { LockError } from '../../lock.errors.js';
import { loadPackage } from '../shared/opening.js';
import { kindOf } from '../sql/client-kinds.js';
import type { DriverExecutor, SqliteFile } from '../sql/sql-executor.js';
import type { Sqlite } from '../sql/sqlite/sqlite-connection.js';

/** The members of a better-sqlite3 database that the executor uses. @publicApi */
export interface BetterSqlite3Database {
  readonly open: boolean;
  readonly readonly: boolean;
  readonly inTransaction: boolean;
  pragma(pragma: string): unknown;
}

type DatabaseClass = new (file: string, settings: object) => Sqlite;

/**
 * Runs SQL on an SQLite file through better-sqlite3, on a connection that the store opens for
 * itself. On the application's connection, a rollback would undo the locks.
 *
 * Since transactions of better-sqlite3 are synchronous, `lock.transaction()` and
 * `lock.guard()` are refused. An encrypted file cannot keep locks, since only the
 * application's connection knows its key: use another file.
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

  /** @param file an absolute path, since the process may change its working directory */
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
    // The application's own copy of the package is used: another copy may be missing, or may
    // be a build for encrypted files.
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
      'fromBetterSqlite3() needs an open database, but the application has closed it. Close the database only when the application closes, or pass the path of the file.',
    );
  // SQLite reports the absolute path, even if the working directory of the process has changed
  // since the database was opened.
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
    'SQLite locks need a database file, but this database is in memory or temporary, so no other connection can see it. Give the database a file, or use memoryStore().',
  );
}
