import { LockContext } from './lock-context.js';
import { LockError } from './lock.errors.js';
import type { LockSettings } from './lock.settings.js';
import type { Lock } from './lock.js';

/** Runs a body under a lock that was just taken, and gives the lock back whatever happens. */
export async function runBody<T>(
  lock: Lock,
  body: (lock: Lock) => T | Promise<T>,
  { onLost }: LockSettings,
): Promise<T> {
  let value: T;
  try {
    lock.assertHeld(); // a shutdown may have come in between
    value = await LockContext.run(lock, () => body(lock));
  } catch (error) {
    await giveBack(lock, 'failed');
    throw error;
  }
  await giveBack(lock, 'done');
  if (lock.loss && onLost !== 'ignore') throw lock.loss;
  return value;
}

async function giveBack(lock: Lock, outcome: 'done' | 'failed'): Promise<void> {
  try {
    await lock.giveBack(outcome);
  } catch (error) {
    // The keeper has published it as `storeError`. The work is done: its result, or its error, is what the caller has to know.
    if (!(error instanceof LockError)) throw error;
  }
}
