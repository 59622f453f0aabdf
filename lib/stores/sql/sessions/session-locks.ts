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
 * For how many milliseconds the store tries to make the server end a session, and how many
 * milliseconds it pauses between two tries.
 */
export const ENDING = 5_000;
export const ENDING_PAUSE = 25;

/** A request to acquire one lock. */
interface SessionRequest {
  /** The id of the lock, which contains the key and the owner. */
  id: string;
  lock: ServerLock;
  /** The name of the operation in error messages. */
  doing: string;
  /** The time at which the wait ends, on the monotonic clock. */
  until: number;
  signal: AbortSignal | undefined;
  /** Called with the reason if the lock is granted and later lost. */
  onLost: (reason: string) => void;
}

/** The locks of this process in one database, each with its connection. */
export class SessionLocks {
  readonly #pool: SessionPool;
  readonly #held = new Map<string, HeldSession>();
  /**
   * Locks that were released but stay taken for a while, each with the timer that frees it.
   */
  readonly #kept = new Map<HeldSession, NodeJS.Timeout>();
  /** Functions that each end one wait for a lock on the server. */
  readonly #waits = new Set<() => void>();
  /** Work in the background, which has to end before the client is closed. */
  readonly #background = new Set<Promise<unknown>>();
  #closed = false;

  private constructor(
    readonly database: SessionDatabase,
    private readonly settings: SessionSettings,
  ) {
    this.#pool = new SessionPool(() => database.connect(), settings);
  }

  /** Opens a first connection, which checks that session locks are safe on this server. */
  static async open(database: SessionDatabase, settings: SessionSettings): Promise<SessionLocks> {
    const locks = new SessionLocks(database, settings);
    const first = await locks.#pool.take('open the lock store', 0);
    if (first) locks.#pool.giveBack(first);
    return locks;
  }

  /** The held lock with this id, if there is one. */
  held(id: string): HeldSession | undefined {
    return this.#held.get(id);
  }

  /**
   * Takes the lock on a separate connection. If another session holds the lock, it waits on
   * the server.
   */
  async acquire({ id, lock, doing, until, signal, onLost }: SessionRequest): Promise<LockAcquireResult> {
    let session: LockSession | undefined;
    try {
      session = await this.#pool.take(doing, until, signal);
      if (!session) return { acquired: false };
      const token = await this.#take(session, lock, until, signal);
      if (signal?.aborted) {
        // The caller has given up, and the connection may hold the lock.
        await this.#pool.drop(session);
        return { acquired: false };
      }
      if (token === undefined) {
        const holder = await this.#holderOf(lock, session);
        this.#pool.giveBack(session);
        return { acquired: false, reason: 'held', holder };
      }
      if (session.ended || this.#closed)
        throw new LockStoreError(
          `Could not ${doing}: the connection of the lock ended just after the grant.`,
          { transient: true },
        );
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
   * Releases a held lock.
   *
   * @param keepFor for how many milliseconds the key stays taken; 0 frees it now
   * @returns `false` if the lock is no longer held
   */
  async release(id: string, keepFor: number): Promise<boolean> {
    const held = this.#held.get(id);
    if (!held) return false;
    this.#held.delete(id);
    held.end();
    if (keepFor === 0) return this.#free(held);
    const free = (): void => {
      this.#kept.delete(held);
      // If freeing the lock fails, its connection has ended, and so the lock is free.
      this.#track(this.#free(held)).catch(() => undefined);
    };
    this.#kept.set(held, setTimeout(free, Math.min(keepFor, LONGEST_TIMER)).unref());
    return true;
  }

  /** Releases every lock, even locks that a release still keeps taken. */
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
   * Waits for the lock in several statements. So the store notices a dead connection, and no
   * long statement keeps an old snapshot of the database.
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
   * Ends a wait through another connection, since the server reads nothing from a session that
   * waits for a lock.
   */
  async #endWait(session: LockSession, lock: ServerLock, settled: () => boolean): Promise<void> {
    const until = performance.now() + ENDING;
    while (!settled() && !session.ended && performance.now() < until) {
      // if the server does not end the session, quit() does so below
      await this.database.end(session, lock).catch(() => undefined);
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
   * Closes a connection that has failed, and makes the server end its session. If the network
   * is dead, the server would otherwise keep the session and its lock.
   */
  #discard(session: LockSession, lock: ServerLock): void {
    const discarding = async (): Promise<void> => {
      await this.#pool.drop(session);
      await this.database.end(session, lock);
    };
    // The caller already has the error of the connection.
    this.#track(discarding()).catch(() => undefined);
  }

  /** Returns the holder of the key, or `undefined` if the server does not show it. */
  async #holderOf(lock: ServerLock, session: LockSession): Promise<LockRecord | undefined> {
    try {
      const [holder] = await this.database.look({ lock }, session);
      return holder;
    } catch {
      return undefined; // the caller's refusal is valid even without the holder
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#background.add(work);
    const done = (): boolean => this.#background.delete(work);
    work.then(done, done);
    return work;
  }
}
