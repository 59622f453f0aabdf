import type { Clock, Timer } from '../engine/clock.js';
import type { LockLogger } from '../engine/lock.logger.js';
import type { LockCall, TryRunResult } from '../options/lock-call.js';
import type { LockSettings } from '../options/lock.settings.js';
import type { LockAdmin } from './lock-admin.js';

/** The key of a lock that instances take before a purge, so that only one of them purges. */
const KEY = 'nestjs-locked.purge';

/** The parts of a lock module that its purge schedule uses. */
interface PurgingModule {
  readonly clock: Clock;
  readonly logger: LockLogger;
  readonly admin: LockAdmin;
  readonly enabled: boolean;
  readonly settings: { defaults: LockSettings };
  tryRun<T>(call: LockCall, body: () => Promise<T>): Promise<TryRunResult<T>>;
}

/** Deletes unused keys at an interval. In each interval one instance purges for all. */
export class PurgeSchedule {
  #timer: Timer | undefined;
  #stopped = false;

  constructor(
    private readonly schedule: { olderThan: number; every: number },
    private readonly locks: PurgingModule,
  ) {}

  /** @param once whether the store can record that an interval has had its purge */
  start(once: boolean): void {
    const { clock } = this.locks;
    // The time to the next purge is random, so that instances that start together do not purge
    // together.
    const pause = this.schedule.every * (0.5 + clock.random() / 2);
    this.#timer = clock.after(pause, () => void this.#purge(once), false);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /**
   * Purges once, and sets the timer for the next purge. If a purge fails, that is logged, and
   * the next purge comes at its usual time.
   */
  async #purge(once: boolean): Promise<void> {
    const { olderThan, every } = this.schedule;
    const { admin, logger, settings } = this.locks;
    try {
      const call = { key: KEY, settings: { ...settings.defaults, wait: 0, ...(once && { once: every }) } };
      if (this.locks.enabled) await this.locks.tryRun(call, () => admin.purge({ olderThan }));
    } catch (error) {
      if (!this.#stopped) logger.warn('purgeFailed', error);
    }
    if (!this.#stopped) this.start(once);
  }
}
