import type {
  LeaseRenewal,
  LockAcquireResult,
  RenewalOutcome,
} from '../../interfaces/lock-store.interface.js';
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
export interface LockSessions {
  /**
   * Lends `work` a connection, and always takes it back. If the application left the
   * connection unusable, it is closed, and `work` is repeated on another connection.
   *
   * @param limit milliseconds for everything together: getting the connection, and the answers
   * @param work receives its own result from the connection before, which was usually rolled
   * back, but may have been committed
   */
  use<T>(limit: number, work: (run: Run, before?: T) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Transactions on connections that the application uses. */
export interface LockTransactions {
  /** Runs `work` in a transaction of its own and commits; rolls back, and rejects with the same, when `work` rejects. */
  run<T>(work: (transaction: unknown) => Promise<T>): Promise<T>;
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

/** A release, with the processes that may be called for the key. */
export interface SqlReleaseRequest extends Release {
  caller?: Caller | undefined;
}

/** Who frees a key calls the first of the processes that wait for it in its line. */
export interface Caller {
  /** Where this process is called itself: it is no longer in the line, */
  channel: string;
  /** but for its end, if somebody else is called and others wait here. */
  again: boolean;
  /** Whether others are likely to be in the line. */
  contended?: boolean;
}

/** `gone`: the row is not this owner's, or its lease has run out. `locked`: another session has locked the row, so nothing is known. */
export type ChangeResult = 'done' | 'gone' | 'locked';

/** `called`: it is done, and another process was called. */
export type ReleaseResult = ChangeResult | 'notified';

/** A lease as its holder knows it. */
export interface GuardRequest {
  key: string;
  owner: string;
  token: number;
}

/**
 * What a guard found. `changed`: the lock is not the one that the transaction's snapshot shows. `snapshot`: the transaction has one, and could not
 * tell a renewal from a loss.
 */
export type GuardResult = 'held' | 'gone' | 'changed' | 'snapshot';

/** A page of held locks. */
export interface PageRequest {
  prefix: string;
  after: string;
  limit: number;
}

/** The next keys of the table, in the order of their bytes, of which a purge deletes the unused ones. */
export interface PurgeSlice {
  prefix: string;
  after: string;
  /** How many keys are looked at. */
  limit: number;
  olderThan: number;
}

/** What became of a slice. */
export interface PurgedSlice {
  purged: number;
  /** The last key that was looked at; `undefined` at the end of the table. */
  last: string | undefined;
}

/** The statements of one database. Each method is atomic; what another session has locked is never waited for longer than a second. */
export interface LockStatements {
  /** The SQL expression of the database's clock, in epoch milliseconds. */
  readonly clock: string;
  acquire(run: Run, attempt: SqlAcquireRequest): Promise<LockAcquireResult | RowRefusal>;
  renew(run: Run, lease: LeaseRenewal): Promise<ChangeResult>;
  /** Answers in the order given. Not there where one locked row would hold up the others. */
  renewMany?(run: Run, leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]>;
  release(run: Run, ending: SqlReleaseRequest): Promise<ReleaseResult>;
  releaseToWaiter(run: Run, request: ReleaseToWaiter): Promise<LockAcquireResult>;
  forceRelease(run: Run, key: string, caller?: Caller): Promise<ReleaseResult>;
  /**
   * Puts a process into the line of a key that is held, unless it is in it: nothing is written then. `false` when the key is free, or its row locked;
   * `full` when the line is long. For databases that can call.
   *
   * @param first to the head of the line: it was called, and somebody else was faster
   */
  queue?(run: Run, key: string, channel: string, first: boolean): Promise<boolean | 'full'>;
  /** Calls the next one in place of this process, which has no use for the key, if it is free. */
  callNext?(run: Run, key: string, caller: Caller): Promise<void>;
  /** `gone`: it was paused already. A key that has no row gets one. */
  pause(run: Run, key: string): Promise<ChangeResult>;
  /** `gone`: it was not paused. */
  resume(run: Run, key: string): Promise<ChangeResult>;
  /** Locks the row until the transaction ends, so that nobody changes it. Here alone a row that another session has locked is waited for. */
  guard(run: Run, claim: GuardRequest): Promise<GuardResult>;
  /** The database's clock, in epoch milliseconds. */
  readClock(run: Run): Promise<number>;
  find(run: Run, key: string): Promise<LockRow | undefined>;
  /** Held locks only, in the order of the keys' bytes. */
  list(run: Run, page: PageRequest): Promise<LockRow[]>;
  /** Deletes what is unused in a slice of the table, but for rows that another session has locked. */
  purge(run: Run, slice: PurgeSlice): Promise<PurgedSlice>;
}

/** A database that was found able to keep locks. */
export interface LockDatabase {
  /** For people, and to choose the DDL: `mariadb` also when TypeORM was told `mysql`. */
  kind: 'postgres' | 'mysql' | 'mariadb' | 'better-sqlite3';
  /** With the schema that every statement names. */
  table: LockTable;
  sessions: LockSessions;
  transactions: LockTransactions;
  statements: LockStatements;
  /** Opens what hears the calls of other processes, where the database has such a thing. */
  listen?: (heard: (key?: string) => void) => Listener;
}

/** Hears for which keys this process is called. */
export interface Listener {
  readonly channel: string;
  /** Whether calls arrive now. */
  listens(): boolean;
  close(): Promise<void>;
}
