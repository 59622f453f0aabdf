import { setTimeout as sleep } from 'node:timers/promises';
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
  StoreWarnings,
  WaiterRequest,
  TransactionGuard,
  WakeUps,
} from '../../interfaces/lock-store.interface.js';
import { fitKey, storedKey } from '../../options/lock-key.js';
import { LockError } from '../../lock.errors.js';
import { CONTENTION } from '../shared/conditions.js';
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
import { limitOf, OPERATION_LIMIT } from '../shared/time-limit.js';
import type { LockStatements, OnReleased, ReleaseResult, Run, SqlAcquireRequest } from './lock-statements.js';
import { LockOperations, unlessCollided, type OpenDatabase } from './lock-operations.js';
import { stateOf } from './lock-row.js';
import { nameOf } from './lock-table.ddl.js';
import type { OpenExecutor, Warn } from './sql-executor.js';
import type { SqlStoreSettings } from './sql-store.options.js';

const BATCH = 500; // much larger ones stall other writers

/**
 * Keeps locks as rows of a table in PostgreSQL (12 or newer), MySQL (5.6), MariaDB (10.3) or SQLite (3.35).
 *
 * Each operation is decided by one atomic statement and the database's clock, on a connection that is borrowed from the client's pool for
 * it: it does not join the caller's transaction, and none is kept in between. An acquisition or renewal that is not answered within a third of
 * its ttl (1 to 10 s), anything else that is not answered within 10 s, fails with a transient {@link LockStoreError}.
 *
 * The first operation opens the store if `prepare` has not.
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
  /** Not in weak tables, which may forget what has run. */
  readonly keepsOnce: boolean;
  private readonly operations: LockOperations;
  /** One for each module that uses the store. */
  private readonly listeners = new Set<OnReleased>();
  private warn: Warn | undefined;

  /** @param open opens the executor, before the first operation and after each failure to do so */
  constructor(open: OpenExecutor, settings: SqlStoreSettings) {
    this.keepsOnce = !settings.table.weak;
    // Each module looks for itself whether its waiters want the key.
    const onReleased: OnReleased = (...released) =>
      [...this.listeners].filter((listener) => listener(...released)).length > 0;
    this.operations = new LockOperations(open, settings, onReleased, (topic, message) =>
      this.warn?.(topic, message),
    );
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
    const { kind, table } = this.operations;
    return `store=${kind} table=${nameOf(table)}${table.weak ? ' weak=true' : ''}`;
  }

  async readClock(): Promise<number> {
    return this.operations.run('read the clock', OPERATION_LIMIT, ({ statements }, run) =>
      statements.readClock(run),
    );
  }

  async acquire(
    key: string,
    owner: string,
    ttl: number,
    request: AcquireRequest = {},
  ): Promise<LockAcquireResult> {
    const wanted = leaseRequestOf(key, owner, ttl, request);
    this.operations.expectTtl(ttl);
    const attempt = { ...wanted, ignored: null, longest: this.operations.longestTtl };
    const acquisition = this.operations.run<LockAcquireResult>(
      `acquire "${key}"`,
      limitOf(ttl),
      async ({ statements, wakeUps }, run, before) => {
        const wasNotified = wakeUps?.polls(key) ?? false;
        // On the connection before, the grant may have been committed.
        const resend = attempt.resend || before?.acquired === true;
        const answer = await acquireOnTerms(statements, run, { ...attempt, resend });
        if (answer.acquired || answer.reason !== 'held' || !request.waiting || !wakeUps) return answer;
        return isNotifiable(key) ? wakeUps.queue(run, key, answer, wasNotified) : answer;
      },
      [owner],
    );
    return unlessCollided<LockAcquireResult>(acquisition, CONTENTION);
  }

  async renew(key: string, owner: string, ttl: number): Promise<boolean> {
    const lease = leaseOf(key, owner, ttl);
    this.operations.expectTtl(ttl);
    return this.operations.change(
      `renew "${key}"`,
      limitOf(ttl),
      ({ statements }, run) => statements.renew(run, lease),
      [owner],
    );
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const release = releaseOf(key, owner, end);
    return this.free(
      `release "${key}"`,
      key,
      end.waiting ?? false,
      ({ statements, wakeUps }, run, waiting) =>
        wakeUps ? wakeUps.release(run, release, waiting) : statements.release(run, release),
      [owner],
    );
  }

  /** A row that another session has locked is not waited for: the answer is `contention`. */
  async releaseToWaiter(
    key: string,
    owner: string,
    next: WaiterRequest,
    end: Pick<ReleaseRequest, 'outcome'> = {},
  ): Promise<LockAcquireResult> {
    const wanted = releaseToWaiterOf(key, owner, next, end);
    this.operations.expectTtl(wanted.ttl);
    const passed = this.operations.run<LockAcquireResult>(
      `release "${key}" to a waiter`,
      limitOf(wanted.ttl),
      async ({ statements }, run, before) => {
        const answer = await statements.releaseToWaiter(run, wanted);
        return answer.acquired || !before?.acquired
          ? answer
          : statements.acquire(run, {
              ...leaseRequestOf(key, next.owner, next.ttl, { label: next.label, resend: true }),
              ignored: null,
              longest: this.operations.longestTtl,
            });
      },
      [owner, next.owner],
    );
    return unlessCollided<LockAcquireResult>(passed, CONTENTION);
  }

  /** Renews in batches of 500, where the database can leave out locked rows. A batch that collided with other sessions as a whole is `unknown`. */
  async renewMany(leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    const all = leases.map(({ key, owner, ttl }) => leaseOf(key, owner, ttl));
    for (const { ttl } of all) this.operations.expectTtl(ttl);
    const outcomes: RenewalOutcome[] = [];
    for (let start = 0; start < all.length; start += BATCH) {
      const batch = all.slice(start, start + BATCH);
      const limit = Math.min(...batch.map(({ ttl }) => limitOf(ttl)));
      const renewal = this.operations.run(
        `renew ${batch.length} locks`,
        limit,
        async ({ statements }, run) => statements.renewMany?.(run, batch),
        batch.map(({ owner }) => owner),
      );
      const unknown = batch.map((): RenewalOutcome => 'unknown');
      outcomes.push(...((await unlessCollided(renewal, unknown)) ?? (await this.renewEach(batch))));
    }
    return outcomes;
  }

  /**
   * On connections of their own: one that waits for its row holds up no other. What is not answered soon is asked again by itself.
   *
   * @throws LockStoreError when all fail
   */
  private async renewEach(leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    const soon = Math.min(...leases.map(({ ttl }) => Math.min(ttl / 6, OPERATION_LIMIT / 2)));
    const answered = new AbortController();
    const patience = sleep(soon, 'unknown' as const, { signal: answered.signal });
    patience.catch(() => {}); // it ends when all have answered
    const renewals = leases.map(async ({ key, owner, ttl }): Promise<RenewalOutcome> => {
      return Promise.race([
        this.renew(key, owner, ttl).then((renewed) => (renewed ? 'renewed' : 'lost')),
        patience,
      ]);
    });
    const results = await Promise.allSettled(renewals);
    answered.abort();
    const failures = results.filter((result) => result.status === 'rejected');
    if (failures.length === leases.length) throw failures[0]?.reason;
    return results.map((result) => (result.status === 'fulfilled' ? result.value : 'unknown'));
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = storedKey(key);
    const row = await this.operations.run(`inspect "${key}"`, OPERATION_LIMIT, ({ statements }, run) =>
      statements.find(run, stored),
    );
    return inspectionOf(stored, row && stateOf(row));
  }

  async list(request: ListRequest): Promise<LockPage> {
    const wanted = listRequestOf(request);
    const page = { ...wanted, limit: wanted.limit + 1 }; // the one more tells whether there is a next page
    const rows = await this.operations.run('list the locks', OPERATION_LIMIT, ({ statements }, run) =>
      statements.list(run, page),
    );
    return pageOf(
      rows.map((row) => recordOf(stateOf(row))),
      wanted.limit,
    );
  }

  async forceRelease(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.free(`force the release of "${key}"`, key, false, ({ statements, wakeUps }, run) =>
      (wakeUps ?? statements).forceRelease(run, stored),
    );
  }

  /** On PostgreSQL, unless `wakeUps` is off. */
  get notifiesWaiters(): boolean {
    return this.operations.wakeUps !== undefined;
  }

  onReleased(free: OnReleased): void {
    this.listeners.add(free);
  }

  /** @param waits whether this process waits for the key too */
  private async free(
    doing: string,
    key: string,
    waits: boolean,
    work: (database: OpenDatabase, run: Run, waiting: boolean) => Promise<ReleaseResult>,
    owners: readonly string[] = [],
  ): Promise<boolean> {
    const waiting = waits && isNotifiable(key);
    const result = await this.operations.insist<ReleaseResult>(
      doing,
      OPERATION_LIMIT,
      async (database, run, before) => orDone(await work(database, run, waiting), before),
      owners,
    );
    this.operations.wakeUps?.released(key, waiting, result);
    return result !== 'gone';
  }

  async pause(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.operations.change(`pause "${key}"`, OPERATION_LIMIT, async ({ statements }, run, before) =>
      orDone(await statements.pause(run, stored), before),
    );
  }

  async resume(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.operations.change(`resume "${key}"`, OPERATION_LIMIT, async ({ statements }, run, before) =>
      orDone(await statements.resume(run, stored), before),
    );
  }

  /** Goes through the table slice by slice, and pauses as long as each took: others write meanwhile, and no answer is long in coming. */
  async purge(request: PurgeRequest): Promise<number> {
    const { prefix, olderThan } = purgeRequestOf(request);
    let purged = 0;
    for (let after = ''; ;) {
      const startedAt = performance.now();
      const slice = await this.operations.insist(
        'purge unused keys',
        OPERATION_LIMIT,
        ({ statements }, run) => statements.purge(run, { prefix, after, olderThan }),
      );
      purged += slice.purged;
      if (!slice.last?.startsWith(prefix)) return purged; // keys that start alike stand together
      after = slice.last;
      await sleep(performance.now() - startedAt);
    }
  }

  /**
   * Runs `work` in a transaction on the store's DataSource: at READ COMMITTED on PostgreSQL and MariaDB, at the application's level on MySQL. On
   * SQLite it is the only transaction that writes to the file from beginning to end, on the application's own connection; it waits up to 5 s for
   * those of others.
   */
  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.operations.transaction((transaction) => work(transaction as Transaction));
  }

  /**
   * A statement that locks the lock's row. A row that another session has locked is waited for, 10 s at most.
   *
   * On PostgreSQL it also sets the `idle_in_transaction_session_timeout` of this transaction to what is left of the lease, but at least 1 s and at
   * most 10 s, unless it is lower already: the server ends a transaction whose process is frozen before the commit. Elsewhere such a process keeps
   * the lock from everybody else until it goes on or its connection ends.
   *
   * PostgreSQL and MariaDB allow it at READ COMMITTED, MySQL at any level. On SQLite, and above READ COMMITTED on MariaDB, it fails when others have
   * written since the transaction began to read.
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
 * Repeats an attempt that only an ignorable tick has refused, and reports the tick that it
 * ignored.
 */
async function acquireOnTerms(
  statements: LockStatements,
  run: Run,
  attempt: SqlAcquireRequest,
): Promise<LockAcquireResult> {
  const answer = await statements.acquire(run, attempt);
  if (!('ignorable' in answer) || answer.ignorable === undefined) return answer;
  const again = await statements.acquire(run, { ...attempt, ignored: answer.ignorable });
  return again.acquired ? { ...again, ignoredTick: new Date(answer.ignorable) } : CONTENTION;
}

/**
 * The result of a change that is repeated. If nothing is left to change, the transaction on
 * the connection before was committed, so its result counts.
 */
function orDone<T extends ReleaseResult>(now: T, before: T | undefined): T {
  return now === 'gone' && before !== undefined && before !== 'locked' ? before : now;
}

/** A notification names the key as it is stored, and waiters know it as it was passed in. */
function isNotifiable(key: string): boolean {
  return fitKey(key) === key;
}
