import { LockContext } from '../lock-context.js';
import { LockError } from '../lock.errors.js';
import type { Lock } from '../lock.js';
import type { LockOutcome } from '../interfaces/lock-record.interface.js';

/** All that runs under one lock: the call that took it, and those of its call chain that went in again. The last one out gives the lock back. */
export class Section {
  #inside = 0;

  constructor(
    readonly lock: Lock,
    /** Those of its service. */
    readonly sections: Sections,
  ) {}

  /** Whether one may go in: somebody is inside, and the lock is held. */
  get open(): boolean {
    return this.#inside > 0 && this.lock.held;
  }

  enter(): void {
    this.#inside++;
  }

  /** @param outcome how the work of this one ended: that of the last one counts */
  async leave(outcome: LockOutcome): Promise<void> {
    if (--this.#inside > 0) return;
    try {
      await this.lock.giveBack(outcome);
    } catch (error) {
      // The keeper has published it as `storeError`. The work is done: its result, or its error, is what the caller has to know.
      if (!(error instanceof LockError)) throw error;
    }
  }
}

/** What runs under the locks of one service. */
export class Sections {
  begin(lock: Lock): Section {
    return (lock.section = new Section(lock, this));
  }

  /** The section with this key that the call chain is in, if one may go in again; not into one that was begun while locking was disabled. */
  around(key: string): Section | undefined {
    for (const lock of LockContext.acquired()) {
      const { section } = lock;
      if (lock.key === key && section?.sections === this && section.open) return section;
    }
    return undefined;
  }
}
