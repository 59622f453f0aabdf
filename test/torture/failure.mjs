import { inspect } from 'node:util';
import { LockNotAcquiredError, LockStoreError } from 'nestjs-locked';

/** What is recorded of a failure. Only those of busy locks and of the store are expected. */
export function describeFailure(error) {
  const expected = error instanceof LockNotAcquiredError || error instanceof LockStoreError;
  return {
    error: `${error.name}: ${error.message}`,
    ...permanenceOf(error),
    ...(!expected && { unexpected: error.stack }),
  };
}

/**
 * Tells failures that stay from those that pass by themselves: no run waits for the end of a
 * failure that stays.
 */
export function permanenceOf({ transient, cause }) {
  return transient === false ? { permanent: true, cause: inspect(cause, { depth: 4 }) } : {};
}
