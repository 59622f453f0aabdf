import type { Clock } from './clock.js';
import { LockError, LockStoreError } from '../lock.errors.js';
import { safeError } from '../safe-error.js';

/** The longest time, in milliseconds, for which the engine waits for an answer. */
const LONGEST_LIMIT = 10_000;

/**
 * The shortest timeout, in milliseconds, that a store gets for a request. A store may close a
 * connection whose answer is late, and should not do so because it was slow for a moment.
 */
const SHORTEST_TIMEOUT = 1_000;

/** What an error says about a request that failed. */
export interface RequestDescription {
  /** Such as `release`. */
  operation: string;
  /** The key, if the request is for one. */
  key?: string;
  /** The owner ids that the request uses. No error may show them. */
  owners: readonly string[];
}

/** A request to the store that has to be answered within a limit. */
export interface LimitedRequest<T> extends RequestDescription {
  /** @param timeout milliseconds, see `StoreRequest` */
  send(timeout: number): Promise<T>;
  /** Learns of the answer as soon as it arrives, also when the limit has passed by then. */
  answered?(value: T): void;
  /**
   * Learns of the failure as the store reported it, also when the limit has passed by then,
   * and of what `answered` throws. It may not throw.
   *
   * @param final `true` if the store has answered with an error; `false` if the limit passed
   * first, so an answer may still arrive
   */
  failed?(error: unknown, final: boolean): void;
}

/**
 * Milliseconds that one request for a lease of this ttl may take: a third of it, at most 10
 * s.
 */
export function requestLimitOf(ttl: number): number {
  return Math.min(ttl / 3, LONGEST_LIMIT);
}

/**
 * Sends a request and gives its answer.
 *
 * The engine has its own timer, since a store with three methods may know no timeout.
 *
 * @param limit milliseconds
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
        fail(error); // the caller could not use the answer
      }
    };
    started(request, limit).then(answer, fail);
  });
}

/** Turns what a store threw into an error of this library, without owner ids. */
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
 * Starts the request. A method of a store that is no async function may throw: that is a
 * failure like any other.
 */
function started<T>(request: LimitedRequest<T>, limit: number): Promise<T> {
  try {
    return Promise.resolve(request.send(Math.max(limit, SHORTEST_TIMEOUT)));
  } catch (error) {
    return Promise.reject(error);
  }
}

/** How often, and until when, a request may be sent. */
export interface RetryLimits {
  /** The greatest number of times that the request is sent. */
  tries: number;
  /**
   * Milliseconds of the pause after the first failure. It grows by as much after each failure
   * that follows.
   */
  pause: number;
  /** The monotonic time from which on the request is not sent again. */
  until: number;
  /** Whether the request is not sent again, because its caller has given up. */
  stopped?: () => boolean;
  /** Gets a function that ends the pause which now begins. */
  pausing?: (end: () => void) => void;
  /** The pauses do not keep the process alive. */
  background?: boolean;
}

/**
 * Decides after a failure whether a request is sent again, and pauses before that. The caller
 * has the loop that sends it, so a request that succeeds at once costs nothing more.
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
  if (isOver(clock.now())) throw failure; // the pause may have taken longer
}

/** Whether the outcome is unknown, and the same request may be sent again. */
export function isTransient(error: unknown): boolean {
  return error instanceof LockStoreError && error.transient;
}

/**
 * Whether the store may carry out the request although it failed. An error that is not of
 * this library leaves that unknown.
 */
export function mayBeCarriedOut(error: unknown): boolean {
  return !(error instanceof LockError) || isTransient(error);
}
