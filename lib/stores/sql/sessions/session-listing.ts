import type { LockRecord } from '../../../interfaces/lock-record.interface.js';
import { readNote } from './session-claim.js';
import type { SessionDatabase, SessionLook } from './session-database.js';

/** The locks among what a server shows: names that others have locked are none, nor is one whose holder has not said yet whose it is. */
export function recordsOf(looks: readonly SessionLook[], database: SessionDatabase): LockRecord[] {
  return looks.flatMap(({ name, note, token, waiters }) => {
    const { key, label } = readNote(note);
    if (key === '' || database.claimOf(key, null).name !== name) return [];
    const startedAt = new Date(token / 1_000); // it is the clock of that moment
    const since = { startedAt, renewedAt: startedAt };
    return [{ key, label, fencingToken: token, ...since, expiresAt: null, remaining: Infinity, waiters }];
  });
}
