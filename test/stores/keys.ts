import type { LockAcquireResult } from '../../lib/interfaces/lock-store.interface.js';

let keys = 0;
/** Returns a key that no other test of this process uses. */
export function newKey(): string {
  return `key-${process.pid}-${++keys}`;
}

/** Returns the token of an acquisition, which must have been granted. */
export function tokenOf(result: LockAcquireResult): number {
  if (!result.acquired) throw new Error(`not acquired: ${JSON.stringify(result)}`);
  return result.fencingToken;
}
