import type { Clock } from './clock.js';
import { LockError, LockStoreError } from '../lock.errors.js';

/** How often, and until when, a request may be sent. */
export interface RetryLimits {
  /** The greatest number of times that the request is sent. */
  tries: number;
  /**
   * Milliseconds after the first failure. The pause grows by as much after each further one.
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
 * Decides after a failure whether a request is sent again, and pauses before that. The loop
 * that sends it stands in the caller, so a request that succeeds at once costs nothing more.
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
