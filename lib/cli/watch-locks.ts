import { setTimeout as sleep } from 'node:timers/promises';
import type { LockRecord } from '../interfaces/lock-record.interface.js';
import { LockError, LockStoreError } from '../lock.errors.js';
import type { LockService } from '../lock.service.js';
import { allLocks } from './all-locks.js';
import { STOP_SIGNALS } from './run-command.js';

/**
 * The locks that were held when the database was read, or the error of reading it. `at` is the
 * time of this machine's clock.
 */
export type Look = { at: Date; locks: LockRecord[] } | { at: Date; error: LockError };

/** Shows the locks after each reading of the database, as a log or on the screen. */
export interface WatchView {
  show(look: Look): void;
  end(): void;
}

/**
 * Reads the locks at an interval, and shows them, until a signal stops this process. It goes
 * on while the database cannot be reached.
 */
export async function watchLocks(locks: LockService, view: WatchView, interval: number): Promise<void> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  for (const signal of STOP_SIGNALS) process.once(signal, stop);
  const stopped = new Promise<void>((resolve) =>
    stopping.signal.addEventListener('abort', () => resolve(), { once: true }),
  );
  try {
    for (let first = true; !stopping.signal.aborted; first = false) {
      const look = await Promise.race([lookAt(locks), stopped]);
      if (!look) return;
      // A wrong password or a missing table does not go away by waiting: such an error ends
      // the watch if the first reading fails with it.
      if ('error' in look && first && !mayPass(look.error)) throw look.error;
      view.show(look);
      // The sleep rejects when a signal stops the watch.
      await sleep(interval, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  } finally {
    view.end();
    for (const signal of STOP_SIGNALS) process.off(signal, stop);
  }
}

async function lookAt(locks: LockService): Promise<Look> {
  try {
    const held = await allLocks(locks);
    return { at: new Date(), locks: held };
  } catch (error) {
    if (error instanceof LockError) return { at: new Date(), error };
    throw error;
  }
}

function mayPass(error: LockError): boolean {
  return error instanceof LockStoreError && error.transient;
}
