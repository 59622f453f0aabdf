import { LockContext } from '../lock-context.js';
import type { LockSettings } from '../options/lock.settings.js';
import type { Lock } from '../lock.js';
import type { Section } from './section.js';

/** Runs a body under a lock that is held, and leaves it whatever happens. */
export async function runBody<T>(
  section: Section,
  body: (lock: Lock) => T | Promise<T>,
  { rejectOnLoss }: LockSettings,
): Promise<T> {
  const { lock } = section;
  section.enter();
  let value: T;
  try {
    lock.assertHeld(); // a shutdown may have come in between
    value = await LockContext.run(lock, () => body(lock));
  } catch (error) {
    await section.leave('failed');
    throw error;
  }
  await section.leave('done');
  if (lock.loss && rejectOnLoss) throw lock.loss;
  return value;
}
