// nestjs-locked/store: the types and functions for authors of stores.
export type {
  LockHistory,
  LockInspection,
  LockOutcome,
  LockPage,
  LockRecord,
  LockRun,
} from './lock-record.interface.js';
export type * from './lock-store.interface.js';
export { LockError, LockStoreError, type LockStoreErrorOptions } from '../lock.errors.js';
export { assertKey, assertOwner, fitKey, MAX_KEY_BYTES, storedKey } from '../options/lock-key.js';
