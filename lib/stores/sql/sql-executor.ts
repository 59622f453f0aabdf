import { LockError } from '../../lock.errors.js';
import { kindOf } from './client-kinds.js';
import type { Answer } from './lock-statements.js';
import type { ConnectionFault } from './unusable-connection.js';

/**
 * Runs SQL through the application's client. An executor knows nothing about locks and tables.
 * There are two kinds: most clients lend the connections of their driver, but some clients
 * only run statements.
 *
 * `Transaction` is the object through which the client runs statements in a transaction, such
 * as TypeORM's EntityManager. It is `never` for a client with synchronous transactions.
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

/** The facts that every executor reports about its client. @publicApi */
export interface ExecutorFacts {
  /**
   * The name of the client in messages and in the line that the module logs at start, such as
   * `TypeORM`, `pg` or `Prisma`.
   */
  readonly client: string;
  /**
   * The type of the database: `postgres`, `mysql`, `mariadb` or `better-sqlite3`. A store
   * refuses any other type.
   */
  readonly type: string;
  /**
   * Describes the database in messages: type, host, port and name, or the file. It never
   * contains a user, a password or a URL.
   */
  readonly description: string;
  /** The schema in the options of the client; on MySQL and MariaDB, the database. */
  readonly schema: string | undefined;
  /** The file of the database; only for SQLite. */
  readonly sqlite?: SqliteFile | undefined;
  /**
   * Closes everything that the executor has opened for the store, and nothing that the
   * application made.
   */
  close(): Promise<void>;
}

/**
 * An executor for a client that lends connections of pg, mysql2 or better-sqlite3. The store
 * prepares its statements on these connections, and reads from each answer whether the session
 * is in a transaction. If the application left a connection in a transaction, the store closes
 * that connection.
 *
 * `Connection` is the connection of the driver (pg's client, mysql2's connection,
 * better-sqlite3's database), never a wrapper around it.
 *
 * @publicApi
 */
export interface DriverExecutor<Connection = unknown, Transaction = unknown> extends ExecutorFacts {
  /** How many connections the pool opens at most. */
  readonly poolSize: number;
  /**
   * Whether the work of a transaction must be synchronous, as with better-sqlite3. If so,
   * there is no `lock.transaction()` and no `lock.guard()`.
   */
  readonly hasSynchronousTransactions?: true | undefined;

  /** Borrows a connection to the writer from the pool. */
  borrow(): Promise<BorrowedConnection<Connection, Transaction>>;
  /**
   * Whether the pool has to open a connection for the next borrower. `undefined` if the pool
   * does not show this.
   */
  opensNew(): boolean | undefined;
  /**
   * Makes a connection outside of the pool, with the options of the client and with
   * `settings`. Connections of pg and mysql2 are returned before they are opened, so that the
   * store can listen to all their events.
   *
   * @param settings further options of the driver
   */
  createConnection(settings: object): Promise<Connection>;

  /**
   * Returns the connection of the caller's transaction.
   *
   * @param doing the name of the operation in messages, such as
   * `guard "nightly-report" in a transaction`
   * @throws LockError unless the transaction is open and belongs to this client
   * @throws LockStoreError if the connection of the transaction was lost
   */
  connectionOf(transaction: unknown, doing: string): Promise<Connection>;
  /**
   * Returns a function that reports whether the caller's transaction is still open. That
   * function sends nothing to the server.
   */
  watchTransaction(transaction: unknown): () => boolean;
}

/**
 * An executor for a client that only runs statements, each on any connection of its pool. On
 * PostgreSQL and MariaDB, the statements of the store fail inside a transaction of the
 * application. On SQLite, the store opens a separate connection. Waiters poll, and on MariaDB
 * leases are renewed one by one.
 *
 * @publicApi
 */
export interface StatementExecutor<Transaction = unknown> extends ExecutorFacts {
  /**
   * Runs one statement, outside of all transactions that the client has open. On PostgreSQL
   * the client must send it as a simple query: neither prepared nor with parameters.
   *
   * @param sql the statement, with `?` for each value; on PostgreSQL the values are in the
   * text
   * @param values the values for `?`; empty on PostgreSQL
   * @throws the error of the server, with its SQLSTATE as `code` or MySQL's number as `errno`.
   * The error of a lost connection has a code of Node, such as `ECONNRESET`
   */
  query(sql: string, values: readonly unknown[]): Promise<SqlResult>;
  /** Opens another connection to the file; only for SQLite. */
  createConnection?(settings: object): Promise<unknown>;
  /**
   * Runs `work` in a transaction of the client, and commits. If `work` rejects, the client
   * rolls back, and the call rejects with the same error.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>, options: TransactionOptions): Promise<T>;
  /**
   * Returns a function that runs statements in the caller's transaction. This is a transaction
   * that `transaction` has begun, or that the application has begun if the client shows
   * whether it is open.
   *
   * @param doing the name of the operation in messages, such as
   * `guard "nightly-report" in a transaction`
   * @throws LockError unless the transaction is open and belongs to this client
   */
  queryIn(transaction: unknown, doing: string): StatementExecutor['query'];
  /**
   * Returns a function that reports whether the caller's transaction is still open. That
   * function sends nothing to the server.
   */
  watchTransaction(transaction: unknown): () => boolean;
}

/** The result of a statement. @publicApi */
export interface SqlResult {
  /**
   * The rows as objects with the columns as keys. Integers are numbers, bigints or texts that
   * keep every digit. NULL is null.
   */
  rows: Record<string, unknown>[];
  /** How many rows the statement has changed. For a query, the number has no meaning. */
  affected: number;
}

/** Options of a transaction that the client begins for the store. @publicApi */
export interface TransactionOptions {
  /** The isolation level; without it, the application's setting applies. */
  level?: 'READ COMMITTED' | undefined;
  /**
   * How many milliseconds the transaction may take, for clients that end long transactions.
   */
  timeout: number;
}

/**
 * Opens an executor. A store calls it before its first operation, and again after each failure
 * to open.
 *
 * @publicApi
 */
export type OpenExecutor<Transaction = unknown> = () => Promise<SqlExecutor<Transaction>>;

/**
 * A connection that the pool lends for one operation or one transaction.
 *
 * @publicApi
 */
export interface BorrowedConnection<Connection = unknown, Transaction = unknown> {
  /** The driver's connection. */
  readonly connection: Connection;
  /**
   * Begins and ends a transaction on the connection; missing if the client's transactions are
   * synchronous.
   */
  readonly own?: BorrowedTransaction<Transaction> | undefined;
  /**
   * Gives the connection back. If the driver has destroyed the connection, the pool drops it.
   */
  release(): Promise<void>;
}

/** A transaction on a borrowed connection. @publicApi */
export interface BorrowedTransaction<Transaction = unknown> {
  /**
   * The object through which the caller runs statements in the transaction, once `begin` has
   * resolved.
   */
  readonly transaction: Transaction;
  /**
   * Begins the transaction.
   *
   * @param level the isolation level; by default, the application's setting applies
   */
  begin(level?: 'READ COMMITTED'): Promise<void>;
  /** Commits the transaction. */
  commit(): Promise<void>;
  /** Rolls the transaction back. */
  rollback(): Promise<void>;
}

/** The SQLite file of a client. @publicApi */
export interface SqliteFile {
  /**
   * The path of the file. The store refuses any other value, such as `:memory:`, since no
   * other connection can see such a database.
   */
  readonly file: unknown;
  /** Whether the application's own connection to the file is in a transaction. */
  readonly inTransaction: boolean;
}

/** Sends statements on the connections of one driver: pg or mysql2. */
export interface SqlDriver<Connection> {
  /** Sends a prepared statement if there are values, otherwise plain text. */
  send(
    connection: Connection,
    sql: string,
    values?: readonly unknown[],
    options?: { inTransaction?: boolean; name?: string | undefined },
  ): Promise<Answer>;
  /**
   * Finds the fault of a connection before a transaction or after a failed statement, since
   * the error of the statement may not show it.
   */
  check(connection: Connection, error?: unknown): Promise<ConnectionFault | undefined>;
  /** Closes the connection at once, so that the pool does not take it back. */
  destroy(connection: Connection): void;
}

/** Logs a warning. Warnings with the same `topic` are logged at most once a minute. */
export type Warn = (topic: string, message: string) => void;

/**
 * Returns a function that opens an executor and checks it.
 *
 * @param user the class or function that needs the executor, for messages
 * @throws LockError if the value is not an executor
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

/** The size that is assumed for a pool that does not show its size. */
const POOL_SIZE = 10;

/**
 * Returns how many connections batches may use: half of the pool, since the other half is left
 * to the application.
 */
export function halfOfPool(executor: SqlExecutor): number {
  return Math.max(1, Math.floor(('poolSize' in executor ? executor.poolSize : POOL_SIZE) / 2));
}
