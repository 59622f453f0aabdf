import type { LockSession } from './lock-session.js';
import type { SessionClaim } from './session-claim.js';
import type { SessionDatabase } from './session-database.js';

/** A lock that is held, with its connection: asked again and again whether it still is, and lost with the connection. */
export class HeldSession {
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(
    readonly session: LockSession,
    readonly claim: SessionClaim,
    readonly token: number,
    private readonly terms: {
      database: SessionDatabase;
      /** Milliseconds. */
      keepAlive: number;
      lost: (held: HeldSession, reason: string) => void;
    },
  ) {
    session.onEnd = (reason) => this.#lose(`its connection ended: ${reason}`);
    this.#checkLater();
  }

  /** Asks the server now whether the lock is still held; if not, it is lost. */
  async check(): Promise<boolean> {
    clearTimeout(this.#timer);
    try {
      const held = await this.terms.database.holds(this.session, this.claim);
      if (!held) this.#lose('the server says that its connection does not hold it');
    } catch (error) {
      this.#lose(`its connection failed: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (!this.#over) this.#checkLater();
    return !this.#over;
  }

  /** From here on nobody is told of a loss. */
  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.session.onEnd = undefined;
  }

  #checkLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.check(), this.terms.keepAlive).unref();
  }

  #lose(reason: string): void {
    if (this.#over) return;
    this.end();
    this.terms.lost(this, reason);
  }
}
