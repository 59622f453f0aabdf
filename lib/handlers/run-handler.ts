import { INTERNALS } from '../lock-internals.js';
import { holdStream } from './held-stream.js';
import type { LockCall } from '../options/lock-call.js';
import type { Lock } from '../lock.js';
import type { TryRunResult } from '../options/lock-call.js';
import type { LockService } from '../lock.service.js';

/**
 * Runs a handler under the lock like `tryRun`. When it gives a stream (an Observable, an async iterable, a Node stream), that is the result at
 * once, and the lock is held until the stream has ended or was torn down; a stream whose lock is lost ends with `LockLostError`.
 */
export function runHandler(
  locks: LockService,
  call: LockCall,
  handler: () => unknown,
): Promise<TryRunResult<unknown>> {
  return new Promise((resolve, reject) => {
    const work = async (lock: Lock): Promise<unknown> => {
      const value = await handler();
      const held = holdStream(value, lock, locks, call);
      if (!held) return value;
      resolve({ acquired: true, value: held.stream });
      await held.ended;
      return value;
    };
    locks[INTERNALS].runJob(call, work).then(resolve, reject);
  });
}
