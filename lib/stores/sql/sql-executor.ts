import { LockError } from '../../lock.errors.js';
import { kindOf } from './client-kinds.js';
import type { Answer } from './lock-statements.js';
import type { ConnectionFault } from './unusable-connection.js';

/**
 * Reaches the database through the client that the application has. An executor knows no lock
 * and no table. There are two kinds: most clients lend the connections of their driver, and
 * some only run statements.
 *
 * `Transaction` is the object with which the client makes statements in a transaction, such as
 * TypeORM's EntityManager; `never` for a client whose transactions are synchronous.
 *
 * @publicApi
 */
export type SqlExecutor<Transaction = unknown> =
  DriverExecutor<unknown, Transaction> | StatementExecutor<Transaction>;

/**
 * The transaction object of an executor, as the type argument of `LockService`.
 *
 * ```ts
 * const executor = fromDrizzle(db);
 * type Locks = LockService<TransactionOf<typeof executor>>;
 * ```
 *
 * @publicApi
 */
export type TransactionOf<Executor> =
  Executor extends DriverExecutor<infer _, infer Transaction>
    ? Transaction
    : Executor extends StatementExecutor<infer Transaction>
      ? Transaction
      : unknown;

/** What every executor says of its client. @publicApi */
export interface ExecutorFacts {
  /** The client, as messages and the line at start name it: `TypeORM`, `pg`, `Prisma`. */
  readonly client: string;
  /**
   * The type of the database: `postgres`, `mysql`, `mariadb` or `better-sqlite3`; any other is
   * refused.
   */
  readonly type: string;
  /**
   * The database for people: type, host, port and name, or file; never a user, a password or a
   * URL.
   */
  readonly description: string;
  /** The schema that the client was configured with; on MySQL and MariaDB the database. */
  readonly schema: string | undefined;
  /** For SQLite only. */
  readonly sqlite?: SqliteFile | undefined;
  /** Closes what was opened for the store, and nothing that the application made. */
  close(): Promise<void>;
}

/**
 * A client that lends the connections of pg, mysql2 or better-sqlite3. The store prepares its
 * statements on them, reads from each answer whether the session is in a transaction, and
 * closes a connection that the application left in one.
 *
 * `Connection` is the connection of the driver (pg's client, mysql2's connection,
 * better-sqlite3's database), and never a wrapper of the client.
 *
 * @publicApi
 */
export interface DriverExecutor<Connection = unknown, Transaction = unknown> extends ExecutorFacts {
  /** How many connections the pool opens at most. */
  readonly poolSize: number;
  /**
   * Whether `work` of a transaction may not be asynchronous, as with better-sqlite3. Then there
   * is no `lock.transaction()` and no `lock.guard()`.
   */
  readonly hasSynchronousTransactions?: true | undefined;

  /** Borrows a connection of the pool that reaches the writer. */
  borrow(): Promise<BorrowedConnection<Connection, Transaction>>;
  /**
   * Whether the pool has to open a connection for the next borrower; `undefined` for a pool
   * that does not show it.
   */
  opensNew(): boolean | undefined;
  /**
   * Makes a connection outside of the pool, with the options of the client and these. Clients
   * of pg and mysql2 are not connected yet, so that their events can be heard from the start.
   *
   * @param settings options of the driver
   */
  createConnection(settings: object): Promise<Connection>;

  /**
   * Gives the connection of the caller's transaction.
   *
   * @param doing for messages, such as `guard "nightly-report" in a transaction`
   * @throws LockError unless the transaction is open, and belongs to this client
   * @throws LockStoreError when its connection was lost
   */
  connectionOf(transaction: unknown, doing: string): Promise<Connection>;
  /**
   * Gives a function that reports whether the caller's transaction is still open. It sends
   * nothing to a server.
   */
  watchTransaction(transaction: unknown): () => boolean;
}

/**
 * A client that only runs statements, each on a connection of its choice. The store makes the
 * statements prove that they run outside of each transaction, which PostgreSQL and MariaDB
 * allow; on SQLite it opens a connection of its own. Its waiters poll, and on MariaDB it
 * renews leases one by one.
 *
 * @publicApi
 */
export interface StatementExecutor<Transaction = unknown> extends ExecutorFacts {
  /**
   * Runs one statement, outside of each transaction that the client has open. On PostgreSQL
   * the client must send it as a simple query: neither prepared nor with parameters.
   *
   * @param sql with `?` for each value; on PostgreSQL the values are part of the text
   * @param values none on PostgreSQL
   * @throws the error of the server, with its SQLSTATE as `code` or MySQL's number as `errno`.
   * The error of a connection that was lost has a code of Node, such as `ECONNRESET`
   */
  query(sql: string, values: readonly unknown[]): Promise<SqlResult>;
  /** For SQLite only: opens the file once more. */
  createConnection?(settings: object): Promise<unknown>;
  /**
   * Runs `work` in a transaction of the client, and commits. When `work` rejects, it rolls
   * back and rejects with the same error.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>, options: TransactionOptions): Promise<T>;
  /**
   * Gives the function that runs statements in a transaction of the caller: one of
   * `transaction`, or of the application itself if the client shows whether it is open.
   *
   * @param doing for messages, such as `guard "nightly-report" in a transaction`
   * @throws LockError unless the transaction is open, and belongs to this client
   */
  queryIn(transaction: unknown, doing: string): StatementExecutor['query'];
  /**
   * Gives a function that reports whether the caller's transaction is still open. It sends
   * nothing to a server.
   */
  watchTransaction(transaction: unknown): () => boolean;
}

/** What a statement gave. @publicApi */
export interface SqlResult {
  /**
   * Objects by column name. Whole numbers keep every digit, as numbers, bigints or texts. NULL
   * is null.
   */
  rows: Record<string, unknown>[];
  /** The number of rows that the statement has changed; for a query it does not matter. */
  affected: number;
}

/** Of a transaction that the store asks the client for. @publicApi */
export interface TransactionOptions {
  /** By default, that of the application. */
  level?: 'READ COMMITTED' | undefined;
  /** Milliseconds that the transaction may take, for clients that end theirs by themselves. */
  timeout: number;
}

/**
 * Opens an executor; stores call it before their first operation, and again after it has
 * failed.
 *
 * @publicApi
 */
export type OpenExecutor<Transaction = unknown> = () => Promise<SqlExecutor<Transaction>>;

/**
 * A connection of the pool for the time of one operation or one transaction.
 *
 * @publicApi
 */
export interface BorrowedConnection<Connection = unknown, Transaction = unknown> {
  /** The driver's connection. */
  readonly connection: Connection;
  /** Missing where the client's transactions are synchronous. */
  readonly own?: BorrowedTransaction<Transaction> | undefined;
  /** Gives the connection back. The pool drops a connection that the driver has destroyed. */
  release(): Promise<void>;
}

/** A transaction on a borrowed connection. @publicApi */
export interface BorrowedTransaction<Transaction = unknown> {
  /** The caller makes statements with it, from `begin` on. */
  readonly transaction: Transaction;
  /** Begins the transaction. @param level by default, that of the application */
  begin(level?: 'READ COMMITTED'): Promise<void>;
  /** Commits the transaction. */
  commit(): Promise<void>;
  /** Rolls the transaction back. */
  rollback(): Promise<void>;
}

/** What the client knows of the SQLite file. @publicApi */
export interface SqliteFile {
  /** Its path. Anything else, such as `:memory:`, cannot be seen by another connection. */
  readonly file: unknown;
  /**
   * Whether the connection that the application shares among its requests is in a transaction.
   */
  readonly inTransaction: boolean;
}

/** Sends statements on the connections of one driver: pg or mysql2. */
export interface SqlDriver<Connection> {
  /** Sends a prepared statement when there are values, else plain text. */
  send(
    connection: Connection,
    sql: string,
    values?: readonly unknown[],
    options?: { inTransaction?: boolean; name?: string | undefined },
  ): Promise<Answer>;
  /**
   * Finds the fault of a connection, before a transaction, or after a statement that failed
   * and whose answer may not show it.
   */
  check(connection: Connection, error?: unknown): Promise<ConnectionFault | undefined>;
  /** Ends the connection at once, so that the pool does not take it back. */
  destroy(connection: Connection): void;
}

/** Warns operators; `topic` names the cause. */
export type Warn = (topic: string, message: string) => void;

/**
 * Gives the function that opens an executor.
 *
 * @param user for messages: the class or the function that needs the executor
 * @throws LockError for anything else than an executor
 */
export function openerOf<Transaction>(
  executor: SqlExecutor<Transaction> | OpenExecutor<Transaction>,
  user: string,
): OpenExecutor<Transaction> {
  const open = typeof executor === 'function' ? executor : async () => executor;
  if (typeof executor !== 'function') assertExecutor(executor, user);
  return async () => {
    const opened = await open();
    assertExecutor(opened, user);
    return opened;
  };
}

function assertExecutor(executor: unknown, user: string): void {
  const { client, type, close, borrow, query } = Object(executor) as Partial<Record<string, unknown>>;
  const runs = typeof borrow === 'function' || typeof query === 'function';
  if (runs && typeof client === 'string' && typeof type === 'string' && typeof close === 'function') return;
  throw new LockError(
    `${user} needs an executor, such as fromPg(pool), but it got ${kindOf(executor)}. Wrap the client in its executor: fromPg, fromMysql2, fromBetterSqlite3, fromTypeOrm, fromDrizzle, fromKnex or fromPrisma.`,
  );
}

/** A guess at the pools of clients that do not show their size. */
const POOL_SIZE = 10;

/** The connections that batches may use; the application keeps the other half of the pool. */
export function halfOfPool(executor: SqlExecutor): number {
  return Math.max(1, Math.floor(('poolSize' in executor ? executor.poolSize : POOL_SIZE) / 2));
}
