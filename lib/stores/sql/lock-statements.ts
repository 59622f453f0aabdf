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

/** What a statement gave, in the same shape for every driver. */
export interface Answer {
  rows: Record<string, unknown>[];
  columns: string[];
  affected: number;
  /** What `LAST_INSERT_ID(...)` was set to, on MySQL and MariaDB. */
  insertId: number;
  /**
   * The fault of the connection, by the server's answer: with it, what was written may never
   * be committed.
   */
  fault?: ConnectionFault | undefined;
  /**
   * On PostgreSQL, the process id that the server sent when the connection began; a pooler
   * sends another number.
   */
  process?: number | null | undefined;
}

/**
 * Runs one statement on one connection: prepared when it has values, as plain text when it has
 * none.
 *
 * @param name the name of a prepared statement, which sessions and traces show
 */
export type Run = (sql: string, values?: readonly unknown[], name?: string) => Promise<Answer>;

/** Lends connections, each for one operation. */
export interface SqlConnections {
  /**
   * Lends `work` a connection, and always takes it back. If the application left the
   * connection unusable, it is closed, and `work` is repeated on another connection.
   *
   * @param limit milliseconds for everything together: getting the connection, and the answers
   * @param work receives its own result from the connection before, which was usually rolled
   * back, but may have been committed
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
   * Runs `work` in a transaction of its own and commits; rolls back, and rejects with the
   * same, when `work` rejects.
   *
   * @param timeout milliseconds, for clients that end long transactions
   */
  run<T>(work: (transaction: unknown) => Promise<T>, timeout: number): Promise<T>;
  /**
   * Runs statements inside a transaction of the caller.
   *
   * @param doing for messages
   * @throws LockError when it is no open transaction of this client
   */
  within<T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>): Promise<T>;
}

/** A request for a key, with what a lock table needs besides. */
export interface SqlAcquireRequest extends LeaseRequest {
  /**
   * The longest ttl that this process uses: a table that was created again grants nothing
   * before it has passed.
   */
  longest: number;
  /** A recorded tick that lies too far ahead, and is ignored. */
  ignored: number | null;
}

/**
 * `gone`: there is nothing to change, such as a lease that has expired. `locked`: another
 * session has locked the row, so nothing is known.
 */
export type ChangeResult = 'done' | 'gone' | 'locked';

/** `notified`: the key was released, and another process was notified. */
export type ReleaseResult = ChangeResult | 'notified';

/** A lease that a transaction depends on, as its holder knows it. */
export interface GuardRequest {
  key: string;
  owner: string;
  token: number;
}

/**
 * `changed`: the lock is not the one that the transaction's snapshot shows. `snapshot`: the
 * transaction has a snapshot, and could not tell a renewal from a loss. `outside`: the server
 * has ended the transaction, so the guard would hold nothing until a commit.
 */
export type GuardResult = 'held' | 'gone' | 'changed' | 'snapshot' | 'outside';

/** A page of held locks. */
export interface PageRequest {
  prefix: string;
  after: string;
  limit: number;
}

/**
 * The number of keys that one statement of a purge looks at. It locks the unused ones, so an
 * acquisition of such a key is refused meanwhile.
 */
export const PURGE_SLICE = 100;

/**
 * The next keys of the table, in the order of their bytes. A purge deletes the unused ones.
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

/**
 * The result of an acquisition in a batch; `undefined` if it has to be sent by itself, as a
 * repetition.
 */
export type BatchResult = LockAcquireResult | RowRefusal | undefined;

/** Reports the result of the request at this place. */
export type Settle = (place: number, result: LockAcquireResult) => void;

/** The statements of a batch: they serve many requests, each for another key. */
export interface BatchStatements {
  /** When batches pay, as measured for this database. */
  readonly limits: Pick<BatchLimits, 'alone' | 'smallest' | 'gathers'>;
  /**
   * Serves requests for free keys without further conditions. A row that another session has
   * locked touches no other request.
   *
   * @param settle reports results that are known, and sure, before an insert that may wait
   * @returns results in the order of the requests
   */
  acquire(run: Run, requests: readonly SqlAcquireRequest[], settle: Settle): Promise<BatchResult[]>;
  /**
   * Frees each key at once, unless processes are queued for it.
   *
   * @returns results in the order of the requests; `undefined` for a request that has to be
   * sent by itself, `doubtful` if the key may have been released nevertheless
   */
  release(run: Run, requests: readonly Release[]): Promise<('done' | 'doubtful' | undefined)[]>;
}

/**
 * The statements of one database. Each method is atomic. Except in `guard`, a statement waits
 * at most a second for a row that another session has locked.
 */
export interface LockStatements {
  /**
   * The text of a statement that begins the grace period of a table, see grace-period.ts, or
   * makes it longer.
   *
   * @param longest milliseconds after the creation of the table
   */
  gracePeriod(table: string, longest: number): string;
  acquire(run: Run, request: SqlAcquireRequest): Promise<LockAcquireResult | RowRefusal>;
  renew(run: Run, lease: LeaseRenewal): Promise<ChangeResult>;
  /**
   * Gives results in the order of the leases. Missing if one locked row would hold up others.
   */
  renewMany?(run: Run, leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]>;
  release(run: Run, request: Release): Promise<ChangeResult>;
  /** Missing if one locked row would hold up others; each request is then sent by itself. */
  readonly batches?: BatchStatements | undefined;
  releaseToWaiter(run: Run, request: ReleaseToWaiter): Promise<LockAcquireResult>;
  forceRelease(run: Run, key: string): Promise<ChangeResult>;
  /** `gone`: it was paused already. A key that has no row gets one. */
  pause(run: Run, key: string): Promise<ChangeResult>;
  /** `gone`: it was not paused. */
  resume(run: Run, key: string): Promise<ChangeResult>;
  /**
   * Locks the row until the transaction ends, so that it does not change. Waits for a row that
   * another session has locked.
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
 * Lets processes wait for a key until they are notified of its release, on a database that can
 * notify. It replaces the two releases of {@link LockStatements}, and the attempts of waiters.
 */
export interface ProcessWakeUps {
  /**
   * Notes that this process polls the key. Returns whether it was notified, and has not polled
   * since.
   */
  polls(key: string): boolean;
  /**
   * Whether other processes are likely to be queued for the key, so that its release notifies
   * one of them.
   */
  isContended(key: string): boolean;
  /**
   * Whether this process may take a place in a queue. If not, its waiters poll. The first call
   * begins to connect.
   */
  canQueue(): boolean;
  /**
   * An attempt on behalf of a waiter. If it is refused, it may already have queued this
   * process (`queued`).
   *
   * @param first puts the process at the head: it was notified, and another one was faster
   */
  acquire(run: Run, request: SqlAcquireRequest, first: boolean): Promise<LockAcquireResult | RowRefusal>;
  /**
   * Queues this process for a key that was refused.
   *
   * @param first puts it at the head: it was notified, and another process was faster
   * @returns the refusal, with `queued` if the process is notified when the key is released
   */
  queue(run: Run, key: string, refusal: Refusal, first: boolean): Promise<Refusal>;
  /**
   * @param waiting whether this process waits for the key too: it goes to the end of the queue
   */
  release(run: Run, request: Release, waiting: boolean): Promise<ReleaseResult>;
  forceRelease(run: Run, key: string): Promise<ReleaseResult>;
  /**
   * Lets the waiters of this process poll, once the result of a release is known; unless
   * another process was notified, and this one is queued behind it.
   *
   * @param key as it was passed to the store
   * @param waiting whether this process waits for the key, and can be notified of it
   */
  released(key: string, waiting: boolean, result: ReleaseResult): void;
  close(): Promise<void>;
}

/**
 * Reports a key that may be free; without a key, each may be. Returns whether a waiter of this
 * process wants it.
 */
export type OnReleased = (key?: string, othersPoll?: boolean) => boolean;

/** A database that was found able to keep locks. */
export interface LockDatabase {
  /**
   * For people, and to choose the DDL: `mariadb` also when the client was configured for
   * `mysql`.
   */
  kind: 'postgres' | 'mysql' | 'mariadb' | 'better-sqlite3';
  /** With the schema that every statement names. */
  table: LockTable;
  connections: SqlConnections;
  /** Missing where the client's transactions are synchronous. */
  transactions?: SqlTransactions | undefined;
  statements: LockStatements;
  /** Missing where the database cannot notify processes. */
  wakeUps?: ProcessWakeUps | undefined;
  /** Ends what the store has opened in the database, but not the executor. */
  close(): Promise<void>;
}
