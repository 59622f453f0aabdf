import type { LockSession } from './lock-session.js';
import type { ServerLock, SessionDatabase } from './session-database.js';

/**
 * A held lock with its connection. The store checks on the server at intervals that the
 * connection still holds the lock. If it does not, or if the connection ends, the lock is
 * lost.
 */
export class HeldSession {
  /** Called with the reason when the lock is lost. */
  onLost: ((reason: string) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  /** @param keepAlive milliseconds between two checks */
  constructor(
    readonly session: LockSession,
    readonly lock: ServerLock,
    readonly token: number,
    private readonly database: Pick<SessionDatabase, 'holds'>,
    private readonly keepAlive: number,
  ) {
    session.onEnd = (reason) => this.#lose(`its connection ended: ${reason}`);
    this.#checkLater();
  }

  /**
   * Checks on the server whether the connection still holds the lock. If it does not, reports
   * the loss.
   */
  async check(): Promise<boolean> {
    clearTimeout(this.#timer);
    try {
      const held = await this.database.holds(this.session, this.lock);
      if (!held) this.#lose('the server says that its connection does not hold it');
    } catch (error) {
      this.#lose(`its connection failed: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (!this.#over) this.#checkLater();
    return !this.#over;
  }

  /** Stops the checks. After this call, no loss is reported. */
  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.session.onEnd = undefined;
  }

  #checkLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.check(), this.keepAlive).unref();
  }

  #lose(reason: string): void {
    if (this.#over) return;
    this.end();
    this.onLost?.(reason);
  }
}
