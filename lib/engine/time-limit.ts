import type { Clock } from './clock.js';
import { LockError, LockStoreError } from '../lock.errors.js';
import { safeError } from '../safe-error.js';

/** The longest time, in milliseconds, that the engine waits for the answer to a request. */
const LONGEST_LIMIT = 10_000;

/**
 * The shortest timeout of a request that is passed to a store, in milliseconds. After the
 * timeout a store may close the connection, and it should not do so because the database was
 * slow for a moment.
 */
const SHORTEST_TIMEOUT = 1_000;

/** Describes a request for the error that is thrown when it fails. */
export interface RequestDescription {
  /** What the store was to do, such as `release`. */
  operation: string;
  /** The key that the request is for, if it is for one key. */
  key?: string;
  /** The owner ids that the request uses. No error may show them. */
  owners: readonly string[];
}

/** A request to the store that has to be answered within a limit. */
export interface LimitedRequest<T> extends RequestDescription {
  /**
   * Sends the request.
   *
   * @param timeout milliseconds, see `StoreRequest`
   */
  send(timeout: number): Promise<T>;
  /** Receives the answer as soon as it arrives, even after the limit has passed. */
  answered?(value: T): void;
  /**
   * Receives the error of the store, even after the limit has passed, or an error that
   * `answered` has thrown. It may not throw itself.
   *
   * @param final `true` if the store has answered with the error; `false` if the limit has
   * passed without an answer, which may still arrive
   */
  failed?(error: unknown, final: boolean): void;
}

/**
 * Milliseconds that one request for a lease of this ttl may take: a third of the ttl, at most
 * 10 s.
 */
export function requestLimitOf(ttl: number): number {
  return Math.min(ttl / 3, LONGEST_LIMIT);
}

/**
 * Sends a request, and resolves to the answer of the store.
 *
 * The engine limits the time with its own timer, since a store of three methods may ignore the
 * timeout.
 *
 * @param limit milliseconds to wait for the answer
 * @throws LockError when the request fails, or is not answered within the limit
 */
export function answerWithin<T>(clock: Clock, limit: number, request: LimitedRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const unanswered = (): void => {
      const error = notAnswered(request, limit);
      request.failed?.(error, false);
      reject(error);
    };
    const timer = clock.after(limit, unanswered, false);
    const fail = (error: unknown): void => {
      timer.cancel();
      request.failed?.(error, true);
      reject(asLockError(error, request));
    };
    const answer = (value: T): void => {
      timer.cancel();
      try {
        request.answered?.(value);
        resolve(value);
      } catch (error) {
        fail(error); // `answered` throws if the answer comes too late to be of use
      }
    };
    started(request, limit).then(answer, fail);
  });
}

/** Turns an error that a store threw into an error of this library. It hides the owner ids. */
export function asLockError(error: unknown, request: RequestDescription): LockError {
  if (error instanceof LockError) return error;
  return new LockStoreError(`The lock store failed at the ${nameOf(request)}. See the cause.`, {
    cause: safeError(error, request.owners),
  });
}

function notAnswered(request: RequestDescription, limit: number): LockStoreError {
  return new LockStoreError(
    `The lock store did not answer the ${nameOf(request)} within ${Math.round(limit)} ms. Look at the database's load and at the size of the connection pool, or raise the ttl.`,
    { transient: true },
  );
}

function nameOf({ operation, key }: RequestDescription): string {
  return key === undefined ? operation : `${operation} of "${key}"`;
}

/**
 * Sends the request. If the store throws instead of returning a promise, that counts as a
 * failure of the request like any other.
 */
function started<T>(request: LimitedRequest<T>, limit: number): Promise<T> {
  try {
    return Promise.resolve(request.send(Math.max(limit, SHORTEST_TIMEOUT)));
  } catch (error) {
    return Promise.reject(error);
  }
}

/** How often a failed request is repeated, and until when. */
export interface RetryLimits {
  /** How often the request is sent at most, including the first time. */
  tries: number;
  /**
   * The pause after the first failure, in milliseconds. After each further failure it is
   * longer by the same number.
   */
  pause: number;
  /** The monotonic time at which the repetitions end. */
  until: number;
  /**
   * Returns `true` when the request must not be sent again, because its caller has given up.
   */
  stopped?: () => boolean;
  /** Receives a function that ends the current pause. It is called when a pause begins. */
  pausing?: (end: () => void) => void;
  /** Whether the process may end during a pause. */
  background?: boolean;
}

/**
 * Decides after a failure whether a request is sent again, and pauses if it is. The loop that
 * sends the request is in the caller, so that a request that succeeds at once costs nothing
 * extra.
 *
 * @param sent how often the request was sent
 * @throws the failure, if the request is not to be sent again
 */
export async function pauseBeforeRetry(
  clock: Clock,
  failure: unknown,
  sent: number,
  { tries, pause, until, stopped, pausing, background = false }: RetryLimits,
): Promise<void> {
  const isOver = (at: number): boolean => stopped?.() === true || at >= until;
  if (!isTransient(failure) || sent === tries || isOver(clock.now() + pause * sent)) throw failure;
  await new Promise<void>((resolve) => {
    const timer = clock.after(pause * sent, resolve, !background);
    pausing?.(() => {
      timer.cancel();
      resolve();
    });
  });
  // The pause may have lasted until the repetitions have to end.
  if (isOver(clock.now())) throw failure;
}

/**
 * Whether the outcome of the failed request is unknown, so that the same request may be sent
 * again.
 */
export function isTransient(error: unknown): boolean {
  return error instanceof LockStoreError && error.transient;
}

/**
 * Whether the store may still carry the failed request out. That is not known of an error from
 * other code, so the answer is then `true`.
 */
export function mayBeCarriedOut(error: unknown): boolean {
  return !(error instanceof LockError) || isTransient(error);
}
