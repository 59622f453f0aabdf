import { inspect } from 'node:util';
import { LockNotAcquiredError, LockStoreError } from 'nestjs-locked';

/**
 * Returns how a failure is recorded. Any error other than a busy lock or a failing store is
 * recorded as unexpected.
 */
export function describeFailure(error) {
  const expected = error instanceof LockNotAcquiredError || error instanceof LockStoreError;
  return {
    error: `${error.name}: ${error.message}`,
    ...permanenceOf(error),
    ...(!expected && { unexpected: error.stack }),
  };
}

/**
 * Returns fields that mark a permanent failure. A run fails because of it, since waiting would
 * not help.
 */
export function permanenceOf({ transient, cause }) {
  return transient === false ? { permanent: true, cause: inspect(cause, { depth: 4 }) } : {};
}
