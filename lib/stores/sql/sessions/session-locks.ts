import { setTimeout as sleep } from 'node:timers/promises';
import type { LockRecord } from '../../../interfaces/lock-record.interface.js';
import type { LockAcquireResult } from '../../../interfaces/lock-store.interface.js';
import { LockStoreError } from '../../../lock.errors.js';
import { LONGEST_TIMER } from '../../../options/duration.js';
import { isContention } from '../store-failure.js';
import { HeldSession } from './held-session.js';
import type { LockSession } from './lock-session.js';
import type { ServerLock, SessionDatabase } from './session-database.js';
import { SessionPool } from './session-pool.js';
import type { SessionSettings } from './session-store.options.js';

/**
 * How long the store tries to have the server end a session, and the pause between two tries,
 * in milliseconds.
 */
export const ENDING = 5_000;
export const ENDING_PAUSE = 25;

/** A request for one lock. */
interface SessionRequest {
  /** Of this key and owner. */
  id: string;
  lock: ServerLock;
  /** For messages. */
  doing: string;
  /** On the monotonic clock. */
  until: number;
  signal: AbortSignal | undefined;
  /** Receives the reason when the lock, once granted, is lost. */
  onLost: (reason: string) => void;
}

/** The locks of this process in one database, each with its connection. */
export class SessionLocks {
  readonly #pool: SessionPool;
  readonly #held = new Map<string, HeldSession>();
  /** Locks that were released, but stay taken for a while. */
  readonly #kept = new Map<HeldSession, NodeJS.Timeout>();
  /** Each ends one wait on the server. */
  readonly #waits = new Set<() => void>();
  /** What has to end before the client is closed. */
  readonly #background = new Set<Promise<unknown>>();
  #closed = false;

  private constructor(
    readonly database: SessionDatabase,
    private readonly settings: SessionSettings,
  ) {
    this.#pool = new SessionPool(() => database.connect(), settings);
  }

  /**
   * Makes a first connection, which finds out whether session locks are right on this server.
   */
  static async open(database: SessionDatabase, settings: SessionSettings): Promise<SessionLocks> {
    const locks = new SessionLocks(database, settings);
    const first = await locks.#pool.take('open the lock store', 0);
    if (first) locks.#pool.giveBack(first);
    return locks;
  }

  /** The lock of this id, as long as it is held. */
  held(id: string): HeldSession | undefined {
    return this.#held.get(id);
  }

  /**
   * Takes the lock on a connection of its own, and waits on the server while another session
   * holds it.
   */
  async acquire({ id, lock, doing, until, signal, onLost }: SessionRequest): Promise<LockAcquireResult> {
    let session: LockSession | undefined;
    try {
      session = await this.#pool.take(doing, until, signal);
      if (!session) return { acquired: false };
      const token = await this.#take(session, lock, until, signal);
      if (signal?.aborted) {
        await this.#pool.drop(session); // its caller has given up
        return { acquired: false };
      }
      if (token === undefined) {
        const holder = await this.#holderOf(lock, session);
        this.#pool.giveBack(session);
        return { acquired: false, reason: 'held', holder };
      }
      if (session.ended || this.#closed)
        throw new LockStoreError(`Could not ${doing}: its connection ended just after.`, { transient: true });
      const held = new HeldSession(session, lock, token, this.database, this.settings.keepAlive);
      held.onLost = (reason) => {
        this.#held.delete(id);
        this.#discard(held.session, lock);
        onLost(reason);
      };
      this.#held.set(id, held);
      return { acquired: true, fencingToken: token };
    } catch (error) {
      if (session) this.#discard(session, lock);
      if (signal?.aborted) return { acquired: false };
      if (isContention(error)) return { acquired: false, reason: 'contention' };
      throw error;
    }
  }

  /**
   * @param keepFor milliseconds for which the key stays taken; 0 to free it now
   * @returns `false` when the lock is not held any longer
   */
  async release(id: string, keepFor: number): Promise<boolean> {
    const held = this.#held.get(id);
    if (!held) return false;
    this.#held.delete(id);
    held.end();
    if (keepFor === 0) return this.#free(held);
    const free = (): void => {
      this.#kept.delete(held);
      // If that fails, its connection is gone, and the lock with it.
      this.#track(this.#free(held)).catch(() => undefined);
    };
    this.#kept.set(held, setTimeout(free, Math.min(keepFor, LONGEST_TIMER)).unref());
    return true;
  }

  /** Gives back every lock, those that are kept too. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const giveUp of this.#waits) giveUp();
    const sessions = [...this.#held.values(), ...this.#kept.keys()];
    for (const timer of this.#kept.values()) clearTimeout(timer);
    this.#held.clear();
    this.#kept.clear();
    await Promise.all(
      sessions.map(async (held) => {
        held.end();
        await this.#pool.drop(held.session);
      }),
    );
    await this.#pool.close();
    await Promise.allSettled(this.#background);
  }

  /**
   * Waits in slices, so that a dead link is noticed and no snapshot of the database is held
   * for long.
   */
  async #take(
    session: LockSession,
    lock: ServerLock,
    until: number,
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    let settled = false;
    let ending: Promise<void> | undefined;
    const giveUp = (): void => {
      ending = this.#track(this.#endWait(session, lock, () => settled));
    };
    if (signal?.aborted) return undefined;
    signal?.addEventListener('abort', giveUp, { once: true });
    this.#waits.add(giveUp);
    try {
      while (!this.#closed) {
        const wait = Math.max(0, Math.min(until - performance.now(), this.settings.keepAlive));
        const token = await this.database.take(session, lock, wait, signal);
        if (token !== undefined || performance.now() >= until || signal?.aborted) return token;
      }
      throw new LockStoreError('The lock store is closed.');
    } finally {
      settled = true;
      this.#waits.delete(giveUp);
      signal?.removeEventListener('abort', giveUp);
      await ending;
    }
  }

  /**
   * Ends a wait by another connection: a session that waits on the server does not read what
   * its own client sends.
   */
  async #endWait(session: LockSession, lock: ServerLock, settled: () => boolean): Promise<void> {
    const until = performance.now() + ENDING;
    while (!settled() && !session.ended && performance.now() < until) {
      await this.database.end(session, lock).catch(() => undefined); // its own connection is closed below
      await sleep(ENDING_PAUSE);
    }
    if (!settled()) await session.quit();
  }

  async #free({ session, lock }: HeldSession): Promise<boolean> {
    try {
      const freed = await this.database.free(session, lock);
      if (freed) this.#pool.giveBack(session);
      else await this.#pool.drop(session);
      return freed;
    } catch (error) {
      await this.#pool.drop(session);
      throw error;
    }
  }

  /**
   * Closes a connection that failed, and has the server end its session, which would keep the
   * lock if the link is dead.
   */
  #discard(session: LockSession, lock: ServerLock): void {
    const discarding = async (): Promise<void> => {
      await this.#pool.drop(session);
      await this.database.end(session, lock);
    };
    this.#track(discarding()).catch(() => undefined); // the holder learns of what failed first
  }

  /** The holder of the key, where the server shows it. */
  async #holderOf(lock: ServerLock, session: LockSession): Promise<LockRecord | undefined> {
    try {
      const [holder] = await this.database.look({ lock }, session);
      return holder;
    } catch {
      return undefined; // the attempt is refused all the same
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#background.add(work);
    const done = (): boolean => this.#background.delete(work);
    work.then(done, done);
    return work;
  }
}
