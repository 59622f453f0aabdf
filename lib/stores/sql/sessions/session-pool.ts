import { LockStoreError } from '../../../lock.errors.js';
import type { LockSession } from './lock-session.js';
import { LONGEST_TIMER } from '../../../options/duration.js';
import type { SessionSettings } from './session-store.options.js';

/**
 * For how many milliseconds every acquisition may wait for a connection, even if it does not
 * wait for the lock.
 */
const PATIENCE = 5_000;
/** After how many milliseconds an unused connection is closed. */
const IDLE = 30_000;

/**
 * The connections of one store. The pool limits how many connections are open, and keeps
 * unused connections for a while.
 */
export class SessionPool {
  readonly #idle = new Map<LockSession, NodeJS.Timeout>();
  readonly #waiting = new Set<() => void>();
  #used = 0;
  #closed = false;

  constructor(
    private readonly connect: () => Promise<LockSession>,
    private readonly settings: SessionSettings,
  ) {}

  /**
   * Lends a connection, after a wait if all connections are in use.
   *
   * @param until when the wait for a connection ends, on the monotonic clock; the wait is at
   * least 5 s
   * @returns `undefined` if the signal was aborted during the wait
   * @throws LockStoreError if all connections are still in use after the wait
   */
  async take(doing: string, until: number, signal?: AbortSignal): Promise<LockSession | undefined> {
    if (!(await this.#place(doing, until, signal))) return undefined;
    for (const [session, timer] of this.#idle) {
      this.#idle.delete(session);
      clearTimeout(timer);
      session.onEnd = undefined;
      return session;
    }
    try {
      return await this.connect();
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  /**
   * Takes back a connection that holds no lock. If it has ended, the pool may open a new
   * connection in its place.
   */
  giveBack(session: LockSession): void {
    if (this.#closed) void session.quit();
    else if (!session.ended) this.#keep(session);
    this.#leave();
  }

  /** Closes a connection that must not be used again. */
  async drop(session: LockSession): Promise<void> {
    this.#leave();
    await session.quit();
  }

  /** Closes the unused connections now, and every other connection when it is given back. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const proceed of this.#waiting) proceed();
    const idle = [...this.#idle];
    this.#idle.clear();
    await Promise.all(
      idle.map(async ([session, timer]) => {
        clearTimeout(timer);
        await session.quit();
      }),
    );
  }

  #keep(session: LockSession): void {
    const forget = (): void => {
      clearTimeout(this.#idle.get(session));
      this.#idle.delete(session);
    };
    const close = (): void => {
      forget();
      void session.quit();
    };
    session.onEnd = forget;
    this.#idle.set(session, setTimeout(close, IDLE).unref());
  }

  /**
   * Waits until the caller may use a connection. Resolves to `false` if the signal is aborted.
   */
  async #place(doing: string, until: number, signal?: AbortSignal): Promise<boolean> {
    if (signal?.aborted) return false;
    if (this.#used < this.settings.maxConnections) {
      this.#used++;
      return true;
    }
    if (this.settings.whenFull === 'throw')
      throw this.#full(doing, 'Catch this error, or raise maxConnections.');
    const patience = Math.max(until - performance.now(), PATIENCE);
    const outcome = await new Promise<'granted' | 'aborted' | 'full'>((resolve) => {
      const end = (result: 'granted' | 'aborted' | 'full'): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', giveUp);
        this.#waiting.delete(proceed);
        resolve(result);
      };
      const proceed = (): void => end('granted');
      const giveUp = (): void => end('aborted');
      const timer = setTimeout(() => end('full'), Math.min(patience, LONGEST_TIMER));
      signal?.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(proceed);
    });
    if (this.#closed) throw new LockStoreError(`Could not ${doing}: the lock store is closed.`);
    if (outcome === 'full')
      throw this.#full(
        doing,
        `No connection became free within ${Math.round(patience)} ms. Raise maxConnections.`,
      );
    return outcome === 'granted';
  }

  /** Allows another acquisition to use a connection; if one is waiting, it proceeds. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next) next();
    else this.#used--;
  }

  #full(doing: string, hint: string): LockStoreError {
    return new LockStoreError(
      `Could not ${doing}: all ${this.settings.maxConnections} connections of the session lock store hold locks or wait for them. ${hint}`,
    );
  }
}
