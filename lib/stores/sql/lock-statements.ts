import type {
  LeaseRenewal,
  LockAcquireResult,
  Refusal,
  RenewalOutcome,
} from '../../interfaces/lock-store.interface.js';
import type { BatchLimits } from '../shared/batcher.js';
import type { LeaseRequest, Release, ReleaseToWaiter } from '../shared/requests.js';
import type { LockRow, RowRefusal } from './lock-row.js';
import type { LockTable } from './lock-table.ddl.js';
import type { ConnectionFault } from './unusable-connection.js';

/** The answer to a statement, in the same form for every driver. */
export interface Answer {
  rows: Record<string, unknown>[];
  columns: string[];
  affected: number;
  /** On MySQL and MariaDB, the value to which the statement has set `LAST_INSERT_ID(...)`. */
  insertId: number;
  /**
   * The fault of the connection that the server's answer shows. With a fault, the written rows
   * may never be committed.
   */
  fault?: ConnectionFault | undefined;
  /**
   * On PostgreSQL, the process id that the server sent when the connection began. A pooler
   * sends some other number.
   */
  process?: number | null | undefined;
}

/**
 * Runs one statement on one connection: a prepared statement if there are values, otherwise
 * plain text.
 *
 * @param name the name of the prepared statement, which traces and the views of the server
 * show
 */
export type Run = (sql: string, values?: readonly unknown[], name?: string) => Promise<Answer>;

/** Lends connections, each for one operation. */
export interface SqlConnections {
  /**
   * Lends a connection to `work`, and always takes it back. If the application left the
   * connection unusable, the store closes it, and repeats `work` on another connection.
   *
   * @param limit milliseconds for borrowing connections and for all answers together
   * @param work receives, as `before`, its own result on an earlier, unusable connection,
   * where it was usually rolled back but may have been committed
   */
  use<T>(limit: number, work: (run: Run, before?: T) => Promise<T>): Promise<T>;
  /**
   * Runs statements without values as one transaction.
   *
   * @param limit milliseconds
   */
  runTogether(limit: number, statements: readonly string[]): Promise<void>;
}

/** Transactions on connections that the application uses. */
export interface SqlTransactions {
  /**
   * Runs `work` in a new transaction, and commits. If `work` rejects, it rolls back, and
   * rejects with the same error.
   *
   * @param timeout milliseconds, for clients that end long transactions
   */
  run<T>(work: (transaction: unknown) => Promise<T>, timeout: number): Promise<T>;
  /**
   * Runs statements inside a transaction of the caller.
   *
   * @param doing for messages
   * @throws LockError unless it is an open transaction of this client
   */
  within<T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>): Promise<T>;
}

/** A request for a key, with two further values for lock tables. */
export interface SqlAcquireRequest extends LeaseRequest {
  /**
   * The longest ttl that this process uses. A table that was created again grants no key
   * before this time has passed.
   */
  longest: number;
  /** A recorded tick that the attempt ignores because it lies too far ahead. */
  ignored: number | null;
}

/**
 * The result of a change. `gone`: there is nothing to change, for example since the lease has
 * expired. `locked`: another session has locked the row, so its state is unknown.
 */
export type ChangeResult = 'done' | 'gone' | 'locked';

/**
 * The result of a release. `notified`: the key was released, and another process was notified.
 */
export type ReleaseResult = ChangeResult | 'notified';

/** A lease that a transaction depends on, as its holder knows it. */
export interface GuardRequest {
  key: string;
  owner: string;
  token: number;
}

/**
 * The result of a guard. `changed`: the lock has changed since the transaction's snapshot.
 * `snapshot`: the transaction has a snapshot, in which a renewal looks like a loss. `outside`:
 * the server has ended the transaction, so the guard would protect no commit.
 */
export type GuardResult = 'held' | 'gone' | 'changed' | 'snapshot' | 'outside';

/** A page of held locks. */
export interface PageRequest {
  prefix: string;
  after: string;
  limit: number;
}

/**
 * How many keys one statement of a purge reads. The statement locks the unused keys, so an
 * attempt to acquire such a key is refused meanwhile.
 */
export const PURGE_SLICE = 100;

/**
 * The next keys of the table, in the order of their bytes. A purge deletes the unused keys
 * among them.
 */
export interface PurgeSlice {
  prefix: string;
  after: string;
  olderThan: number;
}

/** The result of a purge of one slice. */
export interface PurgedSlice {
  purged: number;
  /** The last key of the slice; `undefined` at the end of the table. */
  last: string | undefined;
}

/** The result of an acquisition in a batch; `undefined` if it has to be repeated by itself. */
export type BatchResult = LockAcquireResult | RowRefusal | undefined;

/** Reports the result of the request at this place. */
export type Settle = (place: number, result: LockAcquireResult) => void;

/** The statements of a batch. Each serves many requests, all for different keys. */
export interface BatchStatements {
  /** When batches pay, as measured for this database. */
  readonly limits: Pick<BatchLimits, 'alone' | 'smallest' | 'gathers'>;
  /**
   * Serves requests for free keys without further conditions. A row that another session has
   * locked delays no other request.
   *
   * @param settle reports final results before an insert that may wait
   * @returns results in the order of the requests
   */
  acquire(run: Run, requests: readonly SqlAcquireRequest[], settle: Settle): Promise<BatchResult[]>;
  /**
   * Frees each key at once, unless processes are queued for it.
   *
   * @returns results in the order of the requests; `undefined` for a request that has to be
   * sent by itself, `doubtful` if it must be sent too but may already have released the key
   */
  release(run: Run, requests: readonly Release[]): Promise<('done' | 'doubtful' | undefined)[]>;
}

/**
 * The statements of one database. Each method is atomic. Except in `guard`, a statement waits
 * at most a second for a row that another session has locked.
 */
export interface LockStatements {
  /**
   * The text of a statement that begins or extends the grace period of a table, see
   * grace-period.ts.
   *
   * @param longest milliseconds from the creation of the table to the end of the period
   */
  gracePeriod(table: string, longest: number): string;
  acquire(run: Run, request: SqlAcquireRequest): Promise<LockAcquireResult | RowRefusal>;
  renew(run: Run, lease: LeaseRenewal): Promise<ChangeResult>;
  /**
   * Returns results in the order of the leases. Missing if one locked row would delay the
   * other leases.
   */
  renewMany?(run: Run, leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]>;
  release(run: Run, request: Release): Promise<ChangeResult>;
  /**
   * Missing if one locked row would delay the other requests. Each request is then sent by
   * itself.
   */
  readonly batches?: BatchStatements | undefined;
  releaseToWaiter(run: Run, request: ReleaseToWaiter): Promise<LockAcquireResult>;
  forceRelease(run: Run, key: string): Promise<ChangeResult>;
  /** Pauses a key, and inserts its row if it has none. `gone`: the key was already paused. */
  pause(run: Run, key: string): Promise<ChangeResult>;
  /** `gone`: the key was not paused. */
  resume(run: Run, key: string): Promise<ChangeResult>;
  /**
   * Locks the row until the transaction ends. If another session has locked the row, it waits.
   */
  guard(run: Run, request: GuardRequest): Promise<GuardResult>;
  /** The database's clock, in epoch milliseconds. */
  readClock(run: Run): Promise<number>;
  find(run: Run, key: string): Promise<LockRow | undefined>;
  /** Held locks only, in the order of the keys' bytes. */
  list(run: Run, page: PageRequest): Promise<LockRow[]>;
  /** Deletes the unused keys of a slice, except rows that another session has locked. */
  purge(run: Run, slice: PurgeSlice): Promise<PurgedSlice>;
}

/**
 * Lets processes wait for a key until the database notifies them of its release. Its methods
 * replace the two releases of {@link LockStatements}, and the attempts of waiters.
 */
export interface ProcessWakeUps {
  /**
   * Notes that this process polls the key. Returns whether it does so for the first time since
   * it was notified.
   */
  polls(key: string): boolean;
  /**
   * Whether other processes are probably queued for the key, so that its release notifies one
   * of them.
   */
  isContended(key: string): boolean;
  /**
   * Whether this process may take a place in a queue. If not, its waiters poll. The first call
   * starts the connection for notifications.
   */
  canQueue(): boolean;
  /**
   * Makes an attempt on behalf of a waiter. A refusal has `queued` if the attempt has already
   * queued this process.
   *
   * @param first puts the process at the head of the queue, if it was notified but another
   * process was faster
   */
  acquire(run: Run, request: SqlAcquireRequest, first: boolean): Promise<LockAcquireResult | RowRefusal>;
  /**
   * Queues this process for a key that was refused.
   *
   * @param first puts the process at the head of the queue, if it was notified but another
   * process was faster
   * @returns the refusal, with `queued` if the process is notified when the key is released
   */
  queue(run: Run, key: string, refusal: Refusal, first: boolean): Promise<Refusal>;
  /**
   * @param waiting whether this process also waits for the key, and so goes to the end of the
   * queue
   */
  release(run: Run, request: Release, waiting: boolean): Promise<ReleaseResult>;
  forceRelease(run: Run, key: string): Promise<ReleaseResult>;
  /**
   * Lets the waiters of this process poll after a release, unless another process was notified
   * and this process is queued behind it.
   *
   * @param key as it was passed to the store
   * @param waiting whether this process also waits for the key, and can be notified of it
   */
  released(key: string, waiting: boolean, result: ReleaseResult): void;
  close(): Promise<void>;
}

/**
 * Reports that a key may be free; without `key`, any key may be. Returns whether a waiter of
 * this process wants it.
 */
export type OnReleased = (key?: string, othersPoll?: boolean) => boolean;

/** An open database that has passed the checks for a lock store. */
export interface LockDatabase {
  /**
   * Selects the DDL, and appears in messages. It is `mariadb` on MariaDB even if the client
   * was configured for `mysql`.
   */
  kind: 'postgres' | 'mysql' | 'mariadb' | 'better-sqlite3';
  /** The table, with the schema that every statement names. */
  table: LockTable;
  connections: SqlConnections;
  /** Missing where the client's transactions are synchronous. */
  transactions?: SqlTransactions | undefined;
  statements: LockStatements;
  /** Missing where the database cannot notify processes. */
  wakeUps?: ProcessWakeUps | undefined;
  /** Ends everything that the store has opened in the database, but not the executor. */
  close(): Promise<void>;
}
