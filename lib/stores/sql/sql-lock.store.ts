import type { LockInspection, LockPage } from '../../interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  BatchRenewer,
  LeaseRenewal,
  ListRequest,
  LockAcquireResult,
  LockInspector,
  WaiterRelease,
  LockPauser,
  LockStore,
  OnceKeeper,
  PurgeRequest,
  ReleaseRequest,
  RenewalOutcome,
  StoreClock,
  StoreDescription,
  StoreLifecycle,
  StoreRequest,
  StoreWarnings,
  WaiterRequest,
  TransactionGuard,
  WakeUps,
} from '../../interfaces/lock-store.interface.js';
import { LONGEST_TIMER } from '../../options/duration.js';
import { fitKey, storedKey } from '../../options/lock-key.js';
import { LockError } from '../../lock.errors.js';
import { inspectionOf, pageOf, recordOf } from '../shared/key-state.js';
import {
  identityOf,
  leaseOf,
  leaseRequestOf,
  listRequestOf,
  purgeRequestOf,
  releaseOf,
  releaseToWaiterOf,
} from '../shared/requests.js';
import { LockOperations, type LockOperation } from './lock-operations.js';
import { releaseToWaiter } from './attempts.js';
import { BatchedRequests } from './batched-requests.js';
import type { OnReleased, ReleaseResult } from './lock-statements.js';
import { stateOf } from './lock-row.js';
import { createTable, nameOf, type LockTableDatabase } from './lock-table.ddl.js';
import { assertKnownOptions } from '../../options/known-options.js';
import { purgeKeys } from './purge.js';
import { renewLease, renewLeases } from './renewals.js';
import { openerOf, type OpenExecutor, type SqlExecutor, type Warn } from './sql-executor.js';
import {
  readStoreOptions,
  readTable,
  TABLE_OPTIONS,
  type LockTableOptions,
  type SqlStoreOptions,
} from './sql-store.options.js';

/**
 * Keeps locks as rows of a table in PostgreSQL (12 or newer), MySQL (5.6 or newer), MariaDB
 * (10.3 or newer) or SQLite (3.35 or newer).
 *
 * Each operation is one atomic statement that uses the database's clock. It borrows a
 * connection from the client's pool, and does not join the caller's transaction. Between
 * operations, the store keeps no connection. An operation without an answer within the
 * `timeout` of its request, by default 10 s, fails with a transient {@link LockStoreError}.
 *
 * If `prepare` was not called, the first operation opens the store.
 *
 * @publicApi
 */
export class SqlLockStore<Transaction = unknown>
  implements
    LockStore,
    WaiterRelease,
    BatchRenewer,
    LockInspector,
    LockPauser,
    OnceKeeper,
    TransactionGuard,
    StoreClock,
    StoreLifecycle,
    StoreDescription,
    StoreWarnings,
    WakeUps
{
  /**
   * Whether the store can run a key once per tick. It is `false` for weak tables, since a
   * crash may make them forget which ticks have run.
   */
  readonly keepsOnce: boolean;
  private readonly operations: LockOperations;
  private readonly requests: BatchedRequests;
  /** The listeners that learn of released keys, one for each module that uses the store. */
  private readonly listeners = new Set<OnReleased>();
  private warn: Warn | undefined;

  /**
   * @param executor an executor such as `fromPg(pool)`, or a function that returns one. The
   * store calls the function before its first operation, and again after each failure to open
   * @throws LockError for an option that does not exist or is not valid
   */
  constructor(executor: SqlExecutor<Transaction> | OpenExecutor<Transaction>, options: SqlStoreOptions = {}) {
    const settings = readStoreOptions(new.target.name, options);
    const open = openerOf(executor, new.target.name);
    this.keepsOnce = !settings.table.weak;
    // All listeners are called, since each module knows only its own waiters.
    const onReleased: OnReleased = (...released) =>
      [...this.listeners].filter((listener) => listener(...released)).length > 0;
    this.operations = new LockOperations(open, settings, onReleased, (topic, message) =>
      this.warn?.(topic, message),
    );
    this.requests = new BatchedRequests(this.operations);
  }

  /**
   * Returns the statement that creates the table, to run by hand or in a migration.
   *
   * @throws LockError for a name that is not a plain identifier, or for an unsupported
   * database
   */
  static ddl(type: LockTableDatabase, options: LockTableOptions = {}): string {
    assertKnownOptions(`${this.name}.ddl()`, options, TABLE_OPTIONS);
    return createTable(type, readTable(options));
  }

  async prepare(): Promise<void> {
    await this.operations.open();
  }

  async close(): Promise<void> {
    await this.operations.close();
  }

  expectTtl(ttl: number): void {
    this.operations.expectTtl(ttl);
  }

  onWarning(warn: Warn): void {
    this.warn = warn;
  }

  describe(): string {
    const { kind, client, table, missing } = this.operations;
    const facts = [`store=${kind}`, client && `client=${client}`, `table=${nameOf(table)}`];
    if (table.weak) facts.push('weak=true');
    if (missing.length > 0) facts.push(`without=${missing.join()}`);
    return facts.filter(Boolean).join(' ');
  }

  async readClock(): Promise<number> {
    return this.operations.run({ doing: 'read the clock' }, ({ statements }, run) =>
      statements.readClock(run),
    );
  }

  acquire(key: string, owner: string, ttl: number, request: AcquireRequest = {}): Promise<LockAcquireResult> {
    try {
      const lease = leaseRequestOf(key, owner, ttl, request);
      const waiting = request.waiting === true && isNotifiable(key);
      const operation = { doing: `acquire "${key}"`, timeout: request.timeout, owners: [owner] };
      return this.requests.acquire(operation, lease, waiting);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async renew(key: string, owner: string, ttl: number, { timeout }: StoreRequest = {}): Promise<boolean> {
    return renewLease(this.operations, key, leaseOf(key, owner, ttl), timeout);
  }

  async renewMany(leases: readonly LeaseRenewal[], request: StoreRequest = {}): Promise<RenewalOutcome[]> {
    const stored = leases.map(({ key, owner, ttl }) => leaseOf(key, owner, ttl));
    return renewLeases(this.operations, stored, request.timeout);
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const release = releaseOf(key, owner, end);
    const waiting = end.waiting === true && isNotifiable(key);
    const operation = { doing: `release "${key}"`, timeout: end.timeout, owners: [owner] };
    const sendOne = (limited: LockOperation) =>
      this.operations.release(limited, ({ statements, wakeUps }, run) =>
        wakeUps ? wakeUps.release(run, release, waiting) : statements.release(run, release),
      );
    const result = await this.requests.release(operation, release, waiting, sendOne);
    return this.wasReleased(key, waiting, result);
  }

  /**
   * Releases a lock to a waiter. If another session has locked the row, it does not wait, and
   * the result is `contention`.
   */
  async releaseToWaiter(
    key: string,
    owner: string,
    next: WaiterRequest,
    end: Pick<ReleaseRequest, 'outcome' | 'timeout'> = {},
  ): Promise<LockAcquireResult> {
    const release = releaseToWaiterOf(key, owner, next, end);
    const owners = [owner, next.owner];
    const operation = { doing: `release "${key}" to a waiter`, timeout: end.timeout, owners };
    return releaseToWaiter(this.operations, operation, release);
  }

  async forceRelease(key: string): Promise<boolean> {
    const stored = storedKey(key);
    const operation = { doing: `force the release of "${key}"` };
    const result = await this.operations.release(operation, ({ statements, wakeUps }, run) =>
      (wakeUps ?? statements).forceRelease(run, stored),
    );
    return this.wasReleased(key, false, result);
  }

  /**
   * Makes the waiters of this process poll after a release, if the store notifies waiters.
   *
   * @param waiting whether this process also waits for the key, and can be notified when it is
   * released
   */
  private wasReleased(key: string, waiting: boolean, result: ReleaseResult): boolean {
    this.operations.wakeUps?.released(key, waiting, result);
    return result !== 'gone';
  }

  /** Whether the store notifies waiters. It does so on PostgreSQL, unless `wakeUps` is off. */
  get notifiesWaiters(): boolean {
    return this.operations.wakeUps !== undefined;
  }

  onReleased(listener: OnReleased): void {
    this.listeners.add(listener);
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = storedKey(key);
    const row = await this.operations.run({ doing: `inspect "${key}"` }, ({ statements }, run) =>
      statements.find(run, stored),
    );
    return inspectionOf(stored, row && stateOf(row));
  }

  async list(request: ListRequest): Promise<LockPage> {
    const { limit, ...keys } = listRequestOf(request);
    // The page is read with one more lock than requested. If there is one, there is a next
    // page.
    const rows = await this.operations.run({ doing: 'list the locks' }, ({ statements }, run) =>
      statements.list(run, { ...keys, limit: limit + 1 }),
    );
    const records = rows.map((row) => recordOf(stateOf(row)));
    return pageOf(records, limit);
  }

  async pause(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.operations.change({ doing: `pause "${key}"` }, ({ statements }, run) =>
      statements.pause(run, stored),
    );
  }

  async resume(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.operations.change({ doing: `resume "${key}"` }, ({ statements }, run) =>
      statements.resume(run, stored),
    );
  }

  async purge(request: PurgeRequest): Promise<number> {
    return purgeKeys(this.operations, purgeRequestOf(request));
  }

  /**
   * Runs `work` in a transaction of the client: at READ COMMITTED on PostgreSQL and MariaDB,
   * and at the application's isolation level on MySQL. On SQLite the transaction uses the
   * application's own connection. It waits up to 5 s for other transactions, and no other
   * transaction can write to the file until it ends.
   */
  async transaction<T>(
    work: (transaction: Transaction) => Promise<T>,
    { timeout = LONGEST_TIMER }: StoreRequest = {},
  ): Promise<T> {
    return this.operations.transaction((transaction) => work(transaction as Transaction), timeout);
  }

  /**
   * Locks the row of the lock in the transaction. If another session has locked that row, the
   * guard waits for at most 10 s.
   *
   * If the process freezes before the commit, PostgreSQL ends the transaction. For this, the
   * guard sets the transaction's `idle_in_transaction_session_timeout` to the rest of the
   * lease, at least 1 s and at most 10 s, unless it is already lower. On other databases, a
   * frozen process keeps the lock until it continues or its connection ends.
   *
   * A guard needs READ COMMITTED on PostgreSQL and MariaDB; MySQL allows any level. On SQLite,
   * and above READ COMMITTED on MariaDB, the guard fails if another session has written since
   * the transaction began to read.
   */
  async guard(transaction: Transaction, key: string, owner: string, fencingToken: number): Promise<boolean> {
    if (!Number.isSafeInteger(fencingToken))
      throw new LockError(
        `Could not guard "${key}" in a transaction: its fencing token must be a whole number.`,
      );
    return this.operations.guard(transaction, { ...identityOf(key, owner), token: fencingToken });
  }

  watchTransaction(transaction: Transaction): () => boolean {
    return this.operations.watchTransaction(transaction);
  }
}

/**
 * Whether this process can be notified of the key. A notification contains the key as it is
 * stored. A long key is stored in a shortened form, which the waiters do not know.
 */
function isNotifiable(key: string): boolean {
  return fitKey(key) === key;
}
