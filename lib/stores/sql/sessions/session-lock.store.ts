import { setTimeout as sleep } from 'node:timers/promises';
import { clause, LockError, LockStoreError } from '../../../lock.errors.js';
import type { LockInspection, LockPage } from '../../../interfaces/lock-record.interface.js';
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
import { storedKey } from '../../../options/lock-key.js';
import { safeText } from '../../../safe-error.js';
import { sortedPage } from '../../shared/key-state.js';
import {
  identityOf,
  labelOf,
  leaseOf,
  listRequestOf,
  purgeRequestOf,
  releaseOf,
} from '../../shared/requests.js';
import { openerOf, type OpenExecutor, type SqlExecutor } from '../sql-executor.js';
import { SqlOpening } from '../sql-opening.js';
import type { ServerLock, SessionDatabase } from './session-database.js';
import { ENDING, ENDING_PAUSE, SessionLocks } from './session-locks.js';
import {
  readSessionOptions,
  type SessionSettings,
  type SessionStoreOptions,
} from './session-store.options.js';

type Lost = (key: string, owner: string, reason: string) => void;

/**
 * Keeps locks in connections: advisory locks of PostgreSQL (12 or newer), `GET_LOCK` of MySQL
 * (5.6 or newer) and MariaDB (10.3 or newer).
 *
 * The store opens a connection for each lock, and the lock lasts as long as this connection.
 * There is no ttl: the `ttl` of `acquire` and `renew` has no effect. If the connection ends or
 * stops answering, the lock is lost. The store reports the loss to the listeners of
 * {@link watch}, and never moves the lock to another connection.
 *
 * If `prepare` was not called, the first operation opens the store.
 *
 * @publicApi
 */
export class SessionLockStore
  implements LockStore, SessionBound, LockInspector, StoreClock, StoreLifecycle, StoreDescription
{
  readonly sessionBound = true;
  private readonly opening: SqlOpening<SessionLocks>;
  private readonly watchers: Lost[] = [];
  /**
   * The locks of this store; undefined until the store is opened for the first time. When the
   * store closes, all of them are released.
   */
  private locks: SessionLocks | undefined;
  private client = '';

  /**
   * @param executor an executor such as `fromPg(pool)`, or a function that returns one. The
   * store calls the function before its first operation, and again after each failure to open
   * @throws LockError for an option that does not exist or is not valid
   */
  constructor(executor: SqlExecutor | OpenExecutor, options: SessionStoreOptions = {}) {
    const settings = readSessionOptions(new.target.name, options);
    const open = openerOf(executor, new.target.name);
    this.opening = new SqlOpening('open the lock store (session locks)', open, async (opened) => {
      const database = await openSessionDatabase(opened, settings);
      this.client = opened.client;
      return (this.locks = await SessionLocks.open(database, settings));
    });
  }

  async prepare(): Promise<void> {
    await this.opening.start();
  }

  /** Releases every lock, even locks that a release still keeps taken. */
  async close(): Promise<void> {
    await this.opening.close();
  }

  describe(): string {
    if (!this.locks) return 'store=sql locks=session';
    return `store=${this.locks.database.kind} client=${this.client} locks=session`;
  }

  async readClock(): Promise<number> {
    return this.opening.withDatabase({ doing: 'read the clock' }, ({ database }) => database.readClock());
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
    const { key: stored } = leaseOf(key, owner, ttl);
    refuseConditions(request);
    const { label, resend = false, wait = 0, signal } = request;
    const id = idOf(key, owner);
    const own = resend ? this.locks?.held(id) : undefined;
    if (own) return { acquired: true, fencingToken: own.token };

    const doing = `acquire "${key}"`;
    const until = performance.now() + wait;
    const onLost = (reason: string): void => this.lost(key, owner, reason);
    return this.opening.withDatabase({ doing, owners: [owner] }, (locks) => {
      const lock = locks.database.lockOf(stored, labelOf(label));
      return locks.acquire({ id, lock, doing, until, signal, onLost });
    });
  }

  /** Checks on the server whether the lock is still held. */
  async renew(key: string, owner: string, ttl: number): Promise<boolean> {
    leaseOf(key, owner, ttl);
    return (await this.locks?.held(idOf(key, owner))?.check()) ?? false;
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const { keepFor } = releaseOf(key, owner, end);
    const id = idOf(key, owner);
    if (!this.locks?.held(id)) return false;
    const operation = { doing: `release "${key}"`, owners: [owner] };
    return this.opening.withDatabase(operation, (locks) => locks.release(id, keepFor));
  }

  /**
   * Whether a session holds the key. Unlike `inspect`, this works on servers that do not show
   * the holder.
   */
  async isHeld(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.opening.withDatabase({ doing: `look at "${key}"` }, ({ database }) =>
      isHeld(database, database.lockOf(stored, null)),
    );
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = storedKey(key);
    const [holder] = await this.opening.withDatabase({ doing: `inspect "${key}"` }, async ({ database }) => {
      const lock = database.lockOf(stored, null);
      return (await isHeld(database, lock)) ? database.look({ lock }) : [];
    });
    if (!holder) return { state: 'free', key: stored };
    return { state: 'held', key: stored, holder };
  }

  async list(request: ListRequest): Promise<LockPage> {
    const wanted = listRequestOf(request);
    const records = await this.opening.withDatabase({ doing: 'list the locks' }, ({ database }) =>
      database.look({ prefix: wanted.prefix }),
    );
    return sortedPage(records, wanted);
  }

  /**
   * Makes the server end the session that holds the key, in any process. The holder
   * immediately notices that its lock is lost.
   */
  async forceRelease(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.opening.withDatabase({ doing: `force the release of "${key}"` }, async ({ database }) => {
      const lock = database.lockOf(stored, null);
      const ended = await database.endHolders(lock);
      if (ended.length === 0) return false;
      const until = performance.now() + ENDING;
      // The loop waits only until the ended sessions are gone, since a waiter may already have
      // the lock.
      while ((await database.holders(lock)).some((id) => ended.includes(id))) {
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

  /** Returns 0, since a released session lock leaves nothing to purge. */
  async purge(request: PurgeRequest): Promise<number> {
    purgeRequestOf(request);
    return 0;
  }

  private lost(key: string, owner: string, reason: string): void {
    const text = `${clause(safeText(reason, [owner]))}.`;
    for (const lost of this.watchers) lost(key, owner, text);
  }
}

/**
 * @throws LockStoreError if the database has no session locks, or if they would not exclude
 * the sessions of other servers
 */
async function openSessionDatabase(
  executor: SqlExecutor,
  settings: SessionSettings,
): Promise<SessionDatabase> {
  const { type, client } = executor;
  if (!('borrow' in executor))
    throw new LockStoreError(
      `${client} lends no connections, but each session lock needs a connection. Use fromPg(pool) or fromMysql2(pool), or keep leases in a table, with sqlStore().`,
    );
  // These files are imported only here, since stores of leases, which have the same entry, do
  // not need them.
  if (type === 'postgres') {
    const { openPostgresSessions } = await import('../postgres/postgres-sessions.js');
    return openPostgresSessions(executor, settings);
  }
  if (type === 'mysql' || type === 'mariadb') {
    const { openMysqlSessions } = await import('../mysql/mysql-sessions.js');
    return openMysqlSessions(executor, settings);
  }
  throw new LockStoreError(
    `${client}'s ${type} has no session locks: they are for postgres, mysql and mariadb. Keep leases instead: use sqlStore() or typeOrmStore() on postgres, mysql, mariadb and better-sqlite3, and mongoStore() on MongoDB.`,
  );
}

function idOf(key: string, owner: string): string {
  const { key: stored, owner: own } = identityOf(key, owner);
  return `${stored}\0${own}`;
}

function refuseConditions({ stealAfter, once }: AcquireRequest): void {
  const condition = stealAfter !== undefined ? 'stealAfter' : once !== undefined ? 'once' : undefined;
  if (condition)
    throw new LockError(
      `Session locks do not support ${condition}: they last as long as their connection. Use a store that keeps leases, such as sqlStore() or typeOrmStore().`,
    );
}

async function isHeld(database: SessionDatabase, lock: ServerLock): Promise<boolean> {
  return (await database.holders(lock)).length > 0;
}
