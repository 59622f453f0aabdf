import type { Clock } from './clock.js';
import { LockError, LockStoreError } from '../lock.errors.js';

/** How often, and until when, a request may be sent. */
export interface RetryLimits {
  /** The greatest number of times that the request is sent. */
  tries: number;
  /** Milliseconds after the first failure. The pause grows by as much after each further one. */
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
 * Sends a request, and sends it again while its outcome is unknown.
 *
 * @param send gets how often the request was sent before
 * @throws what the last one failed with
 */
export async function retry<T>(
  clock: Clock,
  limits: RetryLimits,
  send: (sentBefore: number) => Promise<T>,
): Promise<T> {
  const { tries, until, stopped, background = false } = limits;
  for (let sent = 1; ; sent++) {
    try {
      return await send(sent - 1);
    } catch (error) {
      const pause = limits.pause * sent;
      const isOver = (at: number): boolean => stopped?.() === true || at >= until;
      if (!isTransient(error) || sent === tries || isOver(clock.now() + pause)) throw error;
      await new Promise<void>((resolve) => {
        const timer = clock.after(pause, resolve, !background);
        limits.pausing?.(() => {
          timer.cancel();
          resolve();
        });
      });
      if (isOver(clock.now())) throw error; // the pause may have taken longer
    }
  }
}

/** Whether the outcome is unknown, and the same request may be sent again. */
export function isTransient(error: unknown): boolean {
  return error instanceof LockStoreError && error.transient;
}

/**
 * Whether the store may carry out the request although it failed. Errors that are not of this
 * library tell nothing about that.
 */
export function mayBeCarriedOut(error: unknown): boolean {
  return !(error instanceof LockError) || isTransient(error);
}
