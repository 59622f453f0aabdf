import type { LockPage, LockRecord } from '../../../interfaces/lock-record.interface.js';
import type { ListRequest } from '../../../interfaces/lock-store.interface.js';
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

/** One page of them, in the order of the keys' bytes. There are no more than the server has connections. */
export function pageOf(
  records: readonly LockRecord[],
  { prefix = '', after = '', limit }: ListRequest,
): LockPage {
  const found = records
    .filter(({ key }) => key.startsWith(prefix) && compare(key, after) > 0)
    .toSorted((a, b) => compare(a.key, b.key));
  const locks = found.slice(0, limit);
  return found.length > limit ? { locks, next: locks.at(-1)?.key } : { locks };
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
