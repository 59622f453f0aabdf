import type { Clock, Timer } from '../engine/clock.js';
import type { LockService } from '../lock.service.js';

/** Under which instances agree on who purges. */
const KEY = 'nestjs-locked.purge';

/** Purges again and again, one instance at a time. */
export class PurgeSchedule {
  #timer: Timer | undefined;
  #stopped = false;

  constructor(
    private readonly schedule: { olderThan: number; every: number },
    private readonly locks: LockService,
    private readonly clock: Clock,
    /** May not throw. */
    private readonly failed: (error: unknown) => void,
  ) {}

  /** @param once whether the store remembers who has purged */
  start(once: boolean): void {
    const { every } = this.schedule;
    // Instances that were started together do not come together.
    const pause = every * (0.5 + this.clock.random() / 2);
    this.#timer = this.clock.after(pause, () => void this.#purge(once), false);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** What fails is tried again the next time. */
  async #purge(once: boolean): Promise<void> {
    const { olderThan, every } = this.schedule;
    try {
      if (this.locks.enabled)
        await this.locks.tryRun(KEY, () => this.locks.purge({ olderThan }), {
          wait: 0,
          ...(once && { once: every }),
        });
    } catch (error) {
      if (!this.#stopped) this.failed(error);
    }
    if (!this.#stopped) this.start(once);
  }
}
