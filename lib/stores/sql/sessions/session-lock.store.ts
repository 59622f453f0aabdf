import { setTimeout as sleep } from 'node:timers/promises';
import type { LockInspection, LockPage, LockRecord } from '../../../interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  ListRequest,
  LockAcquireResult,
  LockInspector,
  LockStore,
  PurgeRequest,
  ReleaseRequest,
  SessionBound,
  StoreClock,
  StoreDescription,
  StoreLifecycle,
} from '../../../interfaces/lock-store.interface.js';
import { LONGEST_TIMER } from '../../../options/duration.js';
import { storedKey } from '../../../options/lock-key.js';
import { LockError, LockStoreError } from '../../../lock.errors.js';
import { safeText } from '../../../safe-error.js';
import { sortedPage } from '../../shared/key-state.js';
import { Opening } from '../../shared/opening.js';
import {
  identityOf,
  labelOf,
  leaseOf,
  listRequestOf,
  purgeRequestOf,
  releaseOf,
} from '../../shared/requests.js';
import type { OpenExecutor, SqlExecutor } from '../sql-executor.js';
import { isContention, storeFailure } from '../store-failure.js';
import { HeldSession } from './held-session.js';
import type { LockSession } from './lock-session.js';
import type { SessionClaim } from './session-claim.js';
import { openSessionDatabase } from './open-session-database.js';
import type { SessionDatabase } from './session-database.js';
import { recordsOf } from './session-listing.js';
import { SessionPool } from './session-pool.js';
import type { SessionSettings } from './session-store.options.js';
import { clause } from '../../../error-text.js';

interface Opened {
  executor: SqlExecutor;
  database: SessionDatabase;
  pool: SessionPool;
}

type Lost = (key: string, owner: string, reason: string) => void;

/** Milliseconds for which it is tried to have the server end a session. */
const ENDING = 5_000;
const ENDING_PAUSE = 25;

/**
 * Keeps locks in connections: advisory locks of PostgreSQL (12 or newer), `GET_LOCK` of MySQL
 * (5.6) and MariaDB (10.3).
 *
 * Each lock has a connection of the store's own, and lasts as long as that: there is no ttl, so that the `ttl` of `acquire` and `renew` changes nothing. A
 * connection that ends, or does not answer any more, is a lost lock, of which those are told who {@link watch}; it is never replaced.
 *
 * The first operation opens the store if `prepare` has not.
 *
 * @publicApi
 */
export class SessionLockStore
  implements LockStore, SessionBound, LockInspector, StoreClock, StoreLifecycle, StoreDescription
{
  readonly sessionBound = true;
  private readonly opening = new Opening(() => this.open());
  private readonly held = new Map<string, HeldSession>();
  private readonly kept = new Map<HeldSession, NodeJS.Timeout>();
  private readonly watchers: Lost[] = [];
  /** Each ends one wait on the server. */
  private readonly waits = new Set<() => void>();
  /** What has to end before the DataSource is closed. */
  private readonly background = new Set<Promise<unknown>>();
  private kind = 'typeorm';

  /** @param openExecutor opens the executor, before the first operation and after each failure to do so */
  constructor(
    private readonly openExecutor: OpenExecutor,
    private readonly settings: SessionSettings,
  ) {}

  async prepare(): Promise<void> {
    await this.opening.start();
  }

  /** Gives back every lock, those that are kept too. */
  async close(): Promise<void> {
    const opened = await this.opening.close();
    if (!opened) return;
    for (const giveUp of this.waits) giveUp();
    const sessions = [...this.held.values(), ...this.kept.keys()];
    for (const timer of this.kept.values()) clearTimeout(timer);
    this.held.clear();
    this.kept.clear();
    await Promise.all(
      sessions.map(async (held) => {
        held.end();
        await opened.pool.drop(held.session);
      }),
    );
    await opened.pool.close();
    await Promise.allSettled(this.background);
    await opened.executor.close();
  }

  describe(): string {
    return `store=${this.kind} locks=session`;
  }

  async readClock(): Promise<number> {
    return this.look('read the clock', async ({ database }) => database.readClock());
  }

  watch(lost: Lost): void {
    this.watchers.push(lost);
  }

  async acquire(
    key: string,
    owner: string,
    ttl: number,
    request: AcquireRequest = {},
  ): Promise<LockAcquireResult> {
    leaseOf(key, owner, ttl);
    refuseLeaseTerms(request);
    const { label, resend = false, wait = 0, signal } = request;
    const id = idOf(key, owner);
    const own = resend ? this.held.get(id) : undefined;
    if (own) return { acquired: true, fencingToken: own.token };

    const doing = `acquire "${key}"`;
    const until = performance.now() + wait;
    const opened = await this.opening.get(doing);
    const { database, pool, executor } = opened;
    const claim = database.claimOf(identityOf(key, owner).key, labelOf(label));
    let session: LockSession | undefined;
    try {
      session = await pool.take(doing, until, signal);
      if (!session) return { acquired: false };
      const token = await this.take(opened, session, claim, until, signal);
      if (signal?.aborted) {
        await pool.drop(session); // who it was for is gone
        return { acquired: false };
      }
      if (token === undefined) {
        const holder = await this.holderOf(opened, claim, session);
        pool.giveBack(session);
        return { acquired: false, reason: 'held', holder };
      }
      if (session.ended || this.opening.closed)
        throw new LockStoreError(`Could not ${doing}: its connection ended just after.`, { transient: true });
      const held = new HeldSession(session, claim, token, {
        database,
        keepAlive: this.settings.keepAlive,
        lost: (one, reason) => this.lost(opened, one, { key, owner, reason }),
      });
      this.held.set(id, held);
      return { acquired: true, fencingToken: token };
    } catch (error) {
      if (session) this.discard(opened, session, claim);
      if (signal?.aborted) return { acquired: false };
      if (isContention(error)) return { acquired: false, reason: 'contention' };
      throw storeFailure(error, doing, executor.description, [owner]);
    }
  }

  /** Asks the server whether the lock is still held. */
  async renew(key: string, owner: string, ttl: number): Promise<boolean> {
    leaseOf(key, owner, ttl);
    return (await this.held.get(idOf(key, owner))?.check()) ?? false;
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const { keepFor } = releaseOf(key, owner, end);
    const id = idOf(key, owner);
    const doing = `release "${key}"`;
    const held = this.held.get(id);
    if (!held) return false;
    const opened = await this.opening.get(doing);
    if (!this.held.delete(id)) return false; // lost, or given back, meanwhile
    held.end();
    if (keepFor > 0) {
      this.keep(opened, held, keepFor);
      return true;
    }
    try {
      return await this.free(opened, held);
    } catch (error) {
      throw storeFailure(error, doing, opened.executor.description, [owner]);
    }
  }

  /** Every server tells whether a key is held; not each tells by whom. */
  async isHeld(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.look(`look at "${key}"`, ({ database }) => isHeld(database, database.claimOf(stored, null)));
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = storedKey(key);
    const [holder] = await this.look(`inspect "${key}"`, async ({ database }) => {
      const claim = database.claimOf(stored, null);
      return (await isHeld(database, claim)) ? recordsOf(await database.look({ claim }), database) : [];
    });
    if (!holder) return { state: 'free', key: stored };
    return { state: 'held', key: stored, holder };
  }

  async list(request: ListRequest): Promise<LockPage> {
    const wanted = listRequestOf(request);
    const records = await this.look('list the locks', async ({ database }) =>
      recordsOf(await database.look({ prefix: wanted.prefix }), database),
    );
    return sortedPage(records, wanted);
  }

  /** Ends the session that holds the key, wherever it is; its holder learns of it at once. */
  async forceRelease(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.look(`force the release of "${key}"`, async ({ database }) => {
      const claim = database.claimOf(stored, null);
      const ended = await database.endHolders(claim);
      if (ended.length === 0) return false;
      const until = performance.now() + ENDING;
      // A waiter may have the lock already. Only the sessions that were ended may not have it.
      while ((await database.holders(claim)).some((id) => ended.includes(id))) {
        if (performance.now() > until)
          throw new LockStoreError(
            `Could not force the release of "${key}": the server has not ended the session that holds it within ${ENDING} ms. Try again.`,
            { transient: true },
          );
        await sleep(ENDING_PAUSE);
      }
      return true;
    });
  }

  /** There is nothing to purge: a lock leaves nothing behind. */
  async purge(request: PurgeRequest): Promise<number> {
    purgeRequestOf(request);
    return 0;
  }

  /** In slices, so that a link that has died is noticed and no snapshot of the database is held for long. */
  private async take(
    opened: Opened,
    session: LockSession,
    claim: SessionClaim,
    until: number,
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    const { database } = opened;
    let settled = false;
    let ending: Promise<void> | undefined;
    const giveUp = (): void => {
      ending = this.track(this.endWait(opened, session, claim, () => settled));
    };
    if (signal?.aborted) return undefined;
    signal?.addEventListener('abort', giveUp, { once: true });
    this.waits.add(giveUp);
    try {
      while (!this.opening.closed) {
        const wait = Math.max(0, Math.min(until - performance.now(), this.settings.keepAlive));
        const token = await database.take(session, claim, wait, signal);
        if (token !== undefined || performance.now() >= until || signal?.aborted) return token;
      }
      throw new LockStoreError('The lock store is closed.');
    } finally {
      settled = true;
      this.waits.delete(giveUp);
      signal?.removeEventListener('abort', giveUp);
      await ending;
    }
  }

  /** A session that waits on the server does not hear its own client: another one has it ended. */
  private async endWait(
    { database }: Opened,
    session: LockSession,
    claim: SessionClaim,
    settled: () => boolean,
  ): Promise<void> {
    const until = performance.now() + ENDING;
    while (!settled() && !session.ended && performance.now() < until) {
      await database.end(session, claim).catch(() => undefined); // then its own link is cut, below
      await sleep(ENDING_PAUSE);
    }
    if (!settled()) await session.quit();
  }

  private lost(
    opened: Opened,
    held: HeldSession,
    loss: { key: string; owner: string; reason: string },
  ): void {
    const { key, owner, reason } = loss;
    this.held.delete(idOf(key, owner));
    this.discard(opened, held.session, held.claim);
    for (const tell of this.watchers) tell(key, owner, `${clause(safeText(reason, [owner]))}.`);
  }

  /** Closes a connection that failed, and has the server end its session: where the link is dead it would keep the lock. */
  private discard({ pool, database }: Opened, session: LockSession, claim: SessionClaim): void {
    const discarding = async (): Promise<void> => {
      await pool.drop(session);
      await database.end(session, claim);
    };
    this.track(discarding()).catch(() => undefined); // what failed first is what its holder is told
  }

  private async free({ database, pool }: Opened, { session, claim }: HeldSession): Promise<boolean> {
    try {
      const freed = await database.free(session, claim);
      if (freed) pool.giveBack(session);
      else await pool.drop(session);
      return freed;
    } catch (error) {
      await pool.drop(session);
      throw error;
    }
  }

  private keep(opened: Opened, held: HeldSession, keepFor: number): void {
    const free = (): void => {
      this.kept.delete(held);
      this.track(this.free(opened, held)).catch(() => undefined); // its connection is gone, and the lock with it
    };
    this.kept.set(held, setTimeout(free, Math.min(keepFor, LONGEST_TIMER)).unref());
  }

  /** Who has the key, where the server tells. */
  private async holderOf(
    { database }: Opened,
    claim: SessionClaim,
    session: LockSession,
  ): Promise<LockRecord | undefined> {
    try {
      const [holder] = recordsOf(await database.look({ claim }, session), database);
      return holder;
    } catch {
      return undefined; // it was refused all the same
    }
  }

  private async look<T>(doing: string, work: (opened: Opened) => Promise<T>): Promise<T> {
    const opened = await this.opening.get(doing);
    try {
      return await work(opened);
    } catch (error) {
      throw storeFailure(error, doing, opened.executor.description);
    }
  }

  private track<T>(work: Promise<T>): Promise<T> {
    this.background.add(work);
    const done = (): boolean => this.background.delete(work);
    work.then(done, done);
    return work;
  }

  private async open(): Promise<Opened> {
    const executor = await this.openExecutor();
    try {
      const database = await openSessionDatabase(executor, this.settings);
      const pool = new SessionPool(() => database.connect(), this.settings);
      const first = await pool.take('open the lock store', 0);
      if (first) pool.giveBack(first);
      this.kind = database.kind;
      return { executor, database, pool };
    } catch (error) {
      await executor.close();
      throw storeFailure(error, 'open the lock store (session locks)', executor.description);
    }
  }
}

function idOf(key: string, owner: string): string {
  const { key: stored, owner: own } = identityOf(key, owner);
  return `${stored}\0${own}`;
}

function refuseLeaseTerms({ stealAfter, once }: AcquireRequest): void {
  const term = stealAfter !== undefined ? 'stealAfter' : once !== undefined ? 'once' : undefined;
  if (term)
    throw new LockError(
      `Session locks know no ${term}: they last as long as their connection. Use a store that keeps leases, such as typeOrmStore().`,
    );
}

async function isHeld(database: SessionDatabase, claim: SessionClaim): Promise<boolean> {
  return (await database.holders(claim)).length > 0;
}
