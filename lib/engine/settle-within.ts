import type { Clock } from './clock.js';
import { LockError, LockStoreError } from '../lock.errors.js';
import { safeError } from '../safe-error.js';

/** Told how a request ended. `failed` also hears what `answered` throws. They are called also when the answer comes after the caller has gone on; `failed` may not throw. */
export interface Settlement<T> {
  answered(value: T): void;
  failed(error: unknown): void;
}

/**
 * Sends a request and resolves when it has settled (`true`), or after `patience` milliseconds (`false`), whichever is first; it never rejects.
 *
 * When the patience ends first, the request is still on its way: the settlement hears of its answer later.
 */
export function settleWithin<T>(
  clock: Clock,
  patience: number,
  request: () => Promise<T>,
  settlement: Settlement<T>,
): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.after(patience, () => resolve(false), false);
    const end = (hear: () => void): void => {
      timer.cancel();
      try {
        hear();
      } catch (error) {
        settlement.failed(error); // an answer that makes no sense
      }
      resolve(true);
    };
    invoke(request).then(
      (value) => end(() => settlement.answered(value)),
      (error: unknown) => end(() => settlement.failed(error)),
    );
  });
}

/**
 * Sends a request and gives its answer.
 *
 * @param request `owners` are the owner ids that it uses, which no error may show
 * @throws LockStoreError when the store fails, or does not answer within `patience` milliseconds
 */
export async function answerWithin<T>(
  clock: Clock,
  patience: number,
  request: { operation: string; key: string; owners?: readonly string[]; send: () => Promise<T> },
): Promise<T> {
  const { operation, key, owners = [], send } = request;
  let answer: { value: T } | undefined;
  let failure: unknown;
  const inTime = await settleWithin(clock, patience, send, {
    answered: (value) => (answer = { value }),
    failed: (error) => (failure = error),
  });
  if (answer && inTime) return answer.value;
  throw inTime ? asLockError(failure, operation, key, owners) : notAnswered(operation, key, patience);
}

/** The error of a request that was not answered in time. */
export function notAnswered(operation: string, key: string, patience: number): LockStoreError {
  return new LockStoreError(
    `The lock store did not answer the ${operation} of "${key}" within ${Math.round(patience)} ms. Look at the database's load and at the size of the connection pool, or raise the ttl.`,
    { transient: true },
  );
}

/**
 * Turns what a store threw into an error of this library.
 *
 * @param owners the owner ids that the operation has used; the cause is rebuilt without them
 */
export function asLockError(
  error: unknown,
  operation: string,
  key: string,
  owners: readonly string[],
): LockError {
  if (error instanceof LockError) return error;
  return new LockStoreError(`The lock store failed at the ${operation} of "${key}". See the cause.`, {
    cause: safeError(error, owners),
  });
}

/** Whether the request may have been carried out although it failed: of what is no error of this library nothing is known. */
export function mayBeCarriedOut(error: unknown): boolean {
  return !(error instanceof LockError) || isTransient(error);
}

/** Whether the outcome is unknown, and the same request may be sent again. */
export function isTransient(error: unknown): boolean {
  return error instanceof LockStoreError && error.transient;
}

/** Stores may be no async functions: what one throws is a failure like any other. */
function invoke<T>(request: () => Promise<T>): Promise<T> {
  try {
    return Promise.resolve(request());
  } catch (error) {
    return Promise.reject(error);
  }
}
