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
 * How many milliseconds the store tries to make the server end a session, and the pause
 * between two tries.
 */
export const ENDING = 5_000;
export const ENDING_PAUSE = 25;

/** A request for one lock. */
interface SessionRequest {
  /** Identifies the key and the owner. */
  id: string;
  lock: ServerLock;
  /** The name of the operation in messages. */
  doing: string;
  /** When the wait ends, on the monotonic clock. */
  until: number;
  signal: AbortSignal | undefined;
  /** Receives the reason if the lock is granted and later lost. */
  onLost: (reason: string) => void;
}

/** The locks of this process in one database, each with its connection. */
export class SessionLocks {
  readonly #pool: SessionPool;
  readonly #held = new Map<string, HeldSession>();
  /** Released locks that stay taken for a while, each with its timer. */
  readonly #kept = new Map<HeldSession, NodeJS.Timeout>();
  /** Functions that each end one wait on the server. */
  readonly #waits = new Set<() => void>();
  /** Background work that has to end before the client is closed. */
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
   * Takes the lock on a separate connection, and waits on the server while another session
   * holds it.
   */
  async acquire({ id, lock, doing, until, signal, onLost }: SessionRequest): Promise<LockAcquireResult> {
    let session: LockSession | undefined;
    try {
      session = await this.#pool.take(doing, until, signal);
      if (!session) return { acquired: false };
      const token = await this.#take(session, lock, until, signal);
      if (signal?.aborted) {
        await this.#pool.drop(session); // the caller has given up
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
   * @param keepFor how many milliseconds the key stays taken; 0 frees it now
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
      // If that fails, the connection has ended, and the lock with it.
      this.#track(this.#free(held)).catch(() => undefined);
    };
    this.#kept.set(held, setTimeout(free, Math.min(keepFor, LONGEST_TIMER)).unref());
    return true;
  }

  /** Releases every lock, including locks that a release keeps taken. */
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
   * Waits in slices, so that the store notices a dead connection, and no long statement keeps
   * an old snapshot of the database.
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
   * Ends a wait through another connection, since a session that waits on the server reads
   * nothing from its own client.
   */
  async #endWait(session: LockSession, lock: ServerLock, settled: () => boolean): Promise<void> {
    const until = performance.now() + ENDING;
    while (!settled() && !session.ended && performance.now() < until) {
      // otherwise quit() below ends the session
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
   * Closes a failed connection, and makes the server end its session. If the network is dead,
   * the session would otherwise keep the lock.
   */
  #discard(session: LockSession, lock: ServerLock): void {
    const discarding = async (): Promise<void> => {
      await this.#pool.drop(session);
      await this.database.end(session, lock);
    };
    this.#track(discarding()).catch(() => undefined); // the caller already has the first error
  }

  /** The holder of the key, if the server shows it. */
  async #holderOf(lock: ServerLock, session: LockSession): Promise<LockRecord | undefined> {
    try {
      const [holder] = await this.database.look({ lock }, session);
      return holder;
    } catch {
      return undefined; // the refusal is valid without the holder
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#background.add(work);
    const done = (): boolean => this.#background.delete(work);
    work.then(done, done);
    return work;
  }
}
