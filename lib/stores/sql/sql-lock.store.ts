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
import type { SqlAcquireRequest, Caller, ReleaseResult, LockStatements, Run } from './lock-statements.js';
import { LockOperations, unlessCollided } from './lock-operations.js';
import { stateOf } from './lock-row.js';
import { nameOf } from './lock-table.ddl.js';
import type { OpenExecutor, Warn } from './sql-executor.js';
import type { SqlStoreSettings } from './sql-store.options.js';
import { GRACE_LABEL } from './grace-period.js';

const BATCH = 500; // much larger ones stall other writers
const SOON = 5_000; // milliseconds in which who is called asks for the key, if ever
const SLICE = 100; // whoever wants a key that is being purged, once in its life, finds its row locked for so long

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
  /** The keys for which this process was called, until it has released them, or some seconds later. */
  private readonly calls = new Map<string, Call>();
  /** Of each module that uses the store. */
  private readonly waiters = new Set<Free>();
  private warn: Warn | undefined;

  /** @param open opens the executor, before the first operation and after each failure to do so */
  constructor(open: OpenExecutor, settings: SqlStoreSettings) {
    this.keepsOnce = !settings.table.weak;
    const heard = settings.wakeUps ? (key?: string) => this.heard(key) : undefined;
    this.operations = new LockOperations(open, settings, heard, (topic, message) =>
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
    return this.operations.run('read the clock', OPERATION_LIMIT, (statements, run) =>
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
      async (statements, run, listener, before) => {
        const call = this.calls.get(key);
        const wasCalled = call?.asked === false;
        if (call) call.asked = true;
        // On the connection before, the grant may have been committed.
        const granted = before?.acquired === true;
        const answer = await acquireOnTerms(
          statements,
          run,
          granted ? { ...attempt, resend: true } : attempt,
        );
        if (answer.acquired || answer.reason !== 'held' || !request.waiting) return answer;
        if (!canBeCalledFor(key) || !listener?.listens() || answer.holder?.label === GRACE_LABEL)
          return answer;
        const queued = await statements.queue?.(run, key, listener.channel, wasCalled);
        if (queued === 'full') return answer;
        return queued ? { ...answer, queued: true } : CONTENTION; // it has just changed hands
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
      (statements, run) => statements.renew(run, lease),
      [owner],
    );
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const release = releaseOf(key, owner, end);
    return this.free(
      `release "${key}"`,
      key,
      end.waiting ?? false,
      (statements, run, caller) => statements.release(run, { ...release, caller }),
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
      async (statements, run, _, before) => {
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
        async (statements, run) => statements.renewMany?.(run, batch),
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
    const row = await this.operations.run(`inspect "${key}"`, OPERATION_LIMIT, (statements, run) =>
      statements.find(run, stored),
    );
    return inspectionOf(stored, row && stateOf(row));
  }

  async list(request: ListRequest): Promise<LockPage> {
    const wanted = listRequestOf(request);
    const page = { ...wanted, limit: wanted.limit + 1 }; // the one more tells whether there is a next page
    const rows = await this.operations.run('list the locks', OPERATION_LIMIT, (statements, run) =>
      statements.list(run, page),
    );
    return pageOf(
      rows.map((row) => recordOf(stateOf(row))),
      wanted.limit,
    );
  }

  async forceRelease(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.free(`force the release of "${key}"`, key, false, (statements, run, caller) =>
      statements.forceRelease(run, stored, caller),
    );
  }

  /** On PostgreSQL, unless `wakeUps` is off. */
  get notifiesWaiters(): boolean {
    return this.operations.calls;
  }

  onReleased(free: Free): void {
    this.waiters.add(free);
  }

  /** @param waiting whether others of this process wait for the key: they are told, or called later when others are before them */
  private async free(
    doing: string,
    key: string,
    waiting: boolean,
    work: (statements: LockStatements, run: Run, caller: Caller | undefined) => Promise<ReleaseResult>,
    owners: readonly string[] = [],
  ): Promise<boolean> {
    let again = false;
    const contended = this.calls.get(key)?.asked === true; // others stood in the line behind it
    const freeing = await this.operations.insist<ReleaseResult>(
      doing,
      OPERATION_LIMIT,
      async (statements, run, listener, before) => {
        again = waiting && canBeCalledFor(key) && listener?.listens() === true;
        const freed = work(statements, run, listener && { channel: listener.channel, again, contended });
        return orDone(await freed, before);
      },
      owners,
    );
    if (contended && freeing !== 'gone') this.calls.delete(key);
    // Gone may be what this process has freed before, when the answer was lost: with it, whether anybody else was called.
    if (freeing !== 'notified' || !again) this.wake(key, !again);
    return freeing !== 'gone';
  }

  /** Tells whether anybody here waits for the key. */
  private wake(key?: string, othersAsk = false): boolean {
    return [...this.waiters].filter((free) => free(key, othersAsk)).length > 0;
  }

  /** This process was called for a key. If nobody here wants it any more, the next one is called. */
  private heard(key?: string): void {
    const now = performance.now();
    for (const [old, { since }] of this.calls) if (now - since > SOON) this.calls.delete(old);
    if (key !== undefined) this.calls.set(key, { since: now, asked: false });
    if (this.wake(key) || key === undefined) return;
    this.calls.delete(key);
    this.operations
      .run(`call the next for "${key}"`, OPERATION_LIMIT, async (statements, run, listener) => {
        if (listener) await statements.callNext?.(run, key, { channel: listener.channel, again: false });
      })
      .catch(() => undefined); // they ask by themselves, a little later
  }

  async pause(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.operations.change(`pause "${key}"`, OPERATION_LIMIT, async (statements, run, _, before) =>
      orDone(await statements.pause(run, stored), before),
    );
  }

  async resume(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.operations.change(`resume "${key}"`, OPERATION_LIMIT, async (statements, run, _, before) =>
      orDone(await statements.resume(run, stored), before),
    );
  }

  /** Goes through the table slice by slice, and pauses as long as each took: others write meanwhile, and no answer is long in coming. */
  async purge(request: PurgeRequest): Promise<number> {
    const { prefix, olderThan } = purgeRequestOf(request);
    let purged = 0;
    for (let after = ''; ;) {
      const startedAt = performance.now();
      const slice = await this.operations.insist('purge unused keys', OPERATION_LIMIT, (statements, run) =>
        statements.purge(run, { prefix, after, limit: SLICE, olderThan }),
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

type Free = Parameters<WakeUps['onReleased']>[0];

/**
 * The result of a change that is repeated. If nothing is left to change, the transaction on
 * the connection before was committed, so its result counts.
 */
function orDone<T extends ReleaseResult>(now: T, before: T | undefined): T {
  return now === 'gone' && before !== undefined && before !== 'locked' ? before : now;
}

/** Of this process, for a key. */
interface Call {
  /** On the monotonic clock. */
  since: number;
  /** Whether somebody here has asked for the key since. */
  asked: boolean;
}

/** A call names the key as it is stored, and those who wait know it as it was given. */
function canBeCalledFor(key: string): boolean {
  return fitKey(key) === key;
}
