import type { Answer } from './lock-statements.js';
import type { ConnectionFault } from './unusable-connection.js';

/**
 * Reaches the database through the client that the application has. An executor maps what a
 * client offers: its pool, its options and its transactions. It knows no lock and no table.
 *
 * `Connection` is the connection of the driver (pg's client, mysql2's connection,
 * better-sqlite3's database), and never a wrapper of the client. `Transaction` is the object
 * with which the client makes statements in a transaction, such as TypeORM's EntityManager.
 */
export interface SqlExecutor<Connection = unknown, Transaction = unknown> {
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
  /** How many connections the pool opens at most. */
  readonly poolSize: number;
  /** For SQLite only. */
  readonly sqlite?: SqliteFile | undefined;

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

  /** Closes what was opened for the store, and nothing that the application made. */
  close(): Promise<void>;
}

/**
 * Opens an executor; stores call it before their first operation, and again after it has
 * failed.
 */
export type OpenExecutor = () => Promise<SqlExecutor>;

/** A connection of the pool for the time of one operation or one transaction. */
export interface BorrowedConnection<Connection = unknown, Transaction = unknown> {
  readonly connection: Connection;
  /** The caller makes statements with it, from `begin` on. */
  readonly transaction: Transaction;
  /** @param level by default, that of the application */
  begin(level?: 'READ COMMITTED'): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  /** Gives the connection back. The pool drops a connection that the driver has destroyed. */
  release(): Promise<void>;
}

/** What the client knows of the SQLite file. */
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
