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
  /**
   * The value that the statement has set with `LAST_INSERT_ID(...)`, on MySQL and MariaDB
   * only.
   */
  insertId: number;
  /**
   * The fault of the connection, if the server's answer shows one. Rows that were written on
   * such a connection may never be committed.
   */
  fault?: ConnectionFault | undefined;
  /**
   * The process id that PostgreSQL sent when the connection began. A pooler sends an id that
   * is not that of the server's process.
   */
  process?: number | null | undefined;
}

/**
 * Runs one statement on one connection. If there are values, the statement is prepared;
 * otherwise it is sent as plain text.
 *
 * @param name the name of the prepared statement, which traces and the views of the server
 * show
 */
export type Run = (sql: string, values?: readonly unknown[], name?: string) => Promise<Answer>;

/** Lends connections of the client's pool, each for one operation. */
export interface SqlConnections {
  /**
   * Lends a connection to `work`, and always takes it back. If the application left the
   * connection unusable, the store closes it, and repeats `work` on another connection.
   *
   * @param limit how many milliseconds borrowing connections and all answers may take together
   * @param work receives `before`, its own result on an earlier, unusable connection. The
   * server has probably rolled that result back, but may have committed it
   */
  use<T>(limit: number, work: (run: Run, before?: T) => Promise<T>): Promise<T>;
  /**
   * Runs statements without values as one transaction.
   *
   * @param limit how many milliseconds the transaction may take
   */
  runTogether(limit: number, statements: readonly string[]): Promise<void>;
}

/** Transactions on connections that the application can use too. */
export interface SqlTransactions {
  /**
   * Runs `work` in a new transaction, and commits. If `work` rejects, rolls back and rejects
   * with the same error.
   *
   * @param timeout milliseconds that the transaction may take, for clients that end long
   * transactions
   */
  run<T>(work: (transaction: unknown) => Promise<T>, timeout: number): Promise<T>;
  /**
   * Runs statements inside a transaction of the caller.
   *
   * @param doing the name of the operation in messages
   * @throws LockError unless `transaction` is open and belongs to this client
   */
  within<T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>): Promise<T>;
}

/** A request for a key, with two values that only lock tables need. */
export interface SqlAcquireRequest extends LeaseRequest {
  /**
   * The longest ttl that this process uses, in milliseconds. If the table was created again,
   * it grants no key before this time has passed.
   */
  longest: number;
  /**
   * The tick of the last run, if the attempt ignores it because it is implausibly far in the
   * future.
   */
  ignored: number | null;
}

/**
 * The result of a change. `gone`: there was nothing to change, for example since the lease had
 * expired. `locked`: another session has locked the row, so its state is unknown.
 */
export type ChangeResult = 'done' | 'gone' | 'locked';

/**
 * The result of a release. `notified`: the key was released, and another process was notified
 * of that.
 */
export type ReleaseResult = ChangeResult | 'notified';

/** A lease that a transaction depends on, as its holder knows it. */
export interface GuardRequest {
  key: string;
  owner: string;
  token: number;
}

/**
 * The result of a guard. `changed`: the lock has changed since the transaction took its
 * snapshot. `snapshot`: the transaction reads from a snapshot, in which a renewal would look
 * like the loss of the lock. `outside`: the server has already ended the transaction, so the
 * guard would protect nothing.
 */
export type GuardResult = 'held' | 'gone' | 'changed' | 'snapshot' | 'outside';

/** Selects a page of held locks. */
export interface PageRequest {
  prefix: string;
  after: string;
  limit: number;
}

/**
 * How many keys one statement of a purge reads. The statement locks the unused keys among
 * them, so meanwhile an attempt to acquire one of these keys is refused.
 */
export const PURGE_SLICE = 100;

/**
 * Selects the next keys of the table, in the order of their bytes. A purge deletes the unused
 * keys among them.
 */
export interface PurgeSlice {
  prefix: string;
  after: string;
  olderThan: number;
}

/** The result of a purge of one slice. */
export interface PurgedSlice {
  purged: number;
  /** The last key of the slice; `undefined` if the slice reaches the end of the table. */
  last: string | undefined;
}

/**
 * The result of one acquisition in a batch. `undefined` if the acquisition has to be repeated
 * outside of the batch.
 */
export type BatchResult = LockAcquireResult | RowRefusal | undefined;

/** Reports the final result of one request in a batch; `place` is its index. */
export type Settle = (place: number, result: LockAcquireResult) => void;

/** The statements of batches. Each statement serves many requests, all for different keys. */
export interface BatchStatements {
  /**
   * From how many requests on a batch is faster than separate statements, as measured on this
   * database.
   */
  readonly limits: Pick<BatchLimits, 'alone' | 'smallest' | 'gathers'>;
  /**
   * Grants free keys to requests without conditions. If another session has locked the row of
   * one key, the other requests do not wait for it.
   *
   * @param settle receives final results early, before an insert that may have to wait
   * @returns the results in the order of the requests
   */
  acquire(run: Run, requests: readonly SqlAcquireRequest[], settle: Settle): Promise<BatchResult[]>;
  /**
   * Frees each key at once, unless processes are queued for it.
   *
   * @returns the results in the order of the requests. `undefined`: the release must be sent
   * outside of the batch. `doubtful`: it must be sent too, but the batch may already have
   * released the key
   */
  release(run: Run, requests: readonly Release[]): Promise<('done' | 'doubtful' | undefined)[]>;
}

/**
 * The statements of one kind of database. Each method is atomic. If another session has locked
 * a row, a statement waits for at most a second; only `guard` may wait longer.
 */
export interface LockStatements {
  /**
   * Returns a statement that begins or extends the grace period of a table, see
   * grace-period.ts.
   *
   * @param longest milliseconds from the creation of the table to the end of the period
   */
  gracePeriod(table: string, longest: number): string;
  acquire(run: Run, request: SqlAcquireRequest): Promise<LockAcquireResult | RowRefusal>;
  renew(run: Run, lease: LeaseRenewal): Promise<ChangeResult>;
  /**
   * Renews many leases with one statement, and returns the results in the order of the leases.
   * Missing on databases where one locked row would delay all of them.
   */
  renewMany?(run: Run, leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]>;
  release(run: Run, request: Release): Promise<ChangeResult>;
  /**
   * The statements of batches. Missing on databases where one locked row would delay all
   * requests of a batch, so that each request is sent alone.
   */
  readonly batches?: BatchStatements | undefined;
  releaseToWaiter(run: Run, request: ReleaseToWaiter): Promise<LockAcquireResult>;
  forceRelease(run: Run, key: string): Promise<ChangeResult>;
  /**
   * Pauses a key; inserts a row for a key that has none. The result `gone` means that the key
   * was already paused.
   */
  pause(run: Run, key: string): Promise<ChangeResult>;
  /** Ends the pause of a key. The result `gone` means that the key was not paused. */
  resume(run: Run, key: string): Promise<ChangeResult>;
  /**
   * Locks the row of the lock until the transaction ends. If another session has locked the
   * row, the statement waits for it.
   */
  guard(run: Run, request: GuardRequest): Promise<GuardResult>;
  /** Reads the database's clock, in epoch milliseconds. */
  readClock(run: Run): Promise<number>;
  find(run: Run, key: string): Promise<LockRow | undefined>;
  /** Returns held locks only, in the order of the bytes of their keys. */
  list(run: Run, page: PageRequest): Promise<LockRow[]>;
  /** Deletes the unused keys of a slice, except those whose row another session has locked. */
  purge(run: Run, slice: PurgeSlice): Promise<PurgedSlice>;
}

/**
 * Puts processes into the queue of a key, so that the database notifies them when the key is
 * released. `release` and `forceRelease` replace the methods of {@link LockStatements}, and
 * `acquire` makes the attempts of waiters.
 */
export interface ProcessWakeUps {
  /**
   * Notes that this process polls the key. Returns whether this is the first poll since the
   * process was notified of the key.
   */
  polls(key: string): boolean;
  /**
   * Whether other processes are probably queued for the key. If so, its release notifies one
   * of them.
   */
  isContended(key: string): boolean;
  /**
   * Whether this process may put itself into queues now; if not, its waiters poll. The first
   * call begins to open the connection for notifications.
   */
  canQueue(): boolean;
  /**
   * Makes an attempt on behalf of a waiter. A refusal has `queued` set if the attempt has also
   * put this process into the queue.
   *
   * @param first puts the process at the head of the queue, since it had been notified but
   * another process was faster
   */
  acquire(run: Run, request: SqlAcquireRequest, first: boolean): Promise<LockAcquireResult | RowRefusal>;
  /**
   * Puts this process into the queue of a key that was refused.
   *
   * @param first puts the process at the head of the queue, since it had been notified but
   * another process was faster
   * @returns the refusal, with `queued` if the process will be notified when the key is
   * released
   */
  queue(run: Run, key: string, refusal: Refusal, first: boolean): Promise<Refusal>;
  /**
   * Releases a key, and notifies the first process in its queue.
   *
   * @param waiting whether this process also waits for the key, and so goes to the end of the
   * queue
   */
  release(run: Run, request: Release, waiting: boolean): Promise<ReleaseResult>;
  forceRelease(run: Run, key: string): Promise<ReleaseResult>;
  /**
   * Makes the waiters of this process poll after a release. They do not poll if the release
   * has notified another process, and this process is queued behind it.
   *
   * @param key the key as it was passed to the store
   * @param waiting whether this process also waits for the key, and can be notified when it is
   * released
   */
  released(key: string, waiting: boolean, result: ReleaseResult): void;
  close(): Promise<void>;
}

/**
 * Reports that a key may be free, or, without `key`, that any key may be. Returns whether a
 * waiter of this process wants the key.
 */
export type OnReleased = (key?: string, othersPoll?: boolean) => boolean;

/** An open database that has passed the checks for a lock store. */
export interface LockDatabase {
  /**
   * The kind of database in the DDL and in messages. It is `mariadb` on MariaDB even if the
   * client was configured for `mysql`.
   */
  kind: 'postgres' | 'mysql' | 'mariadb' | 'better-sqlite3';
  /** The lock table, with the schema that every statement names. */
  table: LockTable;
  connections: SqlConnections;
  /** The transactions of the client; missing if they are synchronous. */
  transactions?: SqlTransactions | undefined;
  statements: LockStatements;
  /** The notifications between processes; missing on databases that have none. */
  wakeUps?: ProcessWakeUps | undefined;
  /**
   * Closes everything that the store has opened in the database, but does not close the
   * executor.
   */
  close(): Promise<void>;
}
