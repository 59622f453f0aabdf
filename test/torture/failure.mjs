import { inspect } from 'node:util';
import { LockNotAcquiredError, LockStoreError } from 'nestjs-locked';

/** The record of a failure. Only failures of busy locks and of the store are expected. */
export function describeFailure(error) {
  const expected = error instanceof LockNotAcquiredError || error instanceof LockStoreError;
  return {
    error: `${error.name}: ${error.message}`,
    ...permanenceOf(error),
    ...(!expected && { unexpected: error.stack }),
  };
}

/** Marks failures that are permanent. No run waits until a permanent failure ends. */
export function permanenceOf({ transient, cause }) {
  return transient === false ? { permanent: true, cause: inspect(cause, { depth: 4 }) } : {};
}
