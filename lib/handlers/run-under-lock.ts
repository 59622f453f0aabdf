import { INTERNALS } from '../lock-internals.js';
import { HttpException, type CallHandler, type ExecutionContext } from '@nestjs/common';
import { Observable } from 'rxjs';
import { holdStream } from './held-stream.js';
import type { Lock } from '../lock.js';
import type { LockCall } from '../options/lock-call.js';
import type { LockService } from '../lock.service.js';
import { FollowedHandler } from './followed-handler.js';
import { cutOff, httpResponseOf, responseOver } from './http-response.js';

const SSE = '__sse__'; // what @Sse() marks handlers with
const CLIENT_CLOSED_REQUEST = 499; // nginx's

/** What a handler emits, run under the lock from the subscription until the handler is done and its response, if it has one, is over. */
export function runUnderLock(
  locks: LockService,
  call: LockCall,
  context: ExecutionContext,
  next: CallHandler,
): Observable<unknown> {
  const response = httpResponseOf(context);
  const isSse = Reflect.hasMetadata(SSE, context.getHandler());
  const { rejectOnLoss } = call.settings;
  return new Observable((subscriber) => {
    const waiting = new AbortController();
    const responded = response && responseOver(response);
    void responded?.then(() => waiting.abort(clientGone()));
    let handler: FollowedHandler | undefined;

    const work = async (lock: Lock): Promise<void> => {
      handler = new FollowedHandler(next, subscriber, lock, {
        rejectOnLoss,
        // With a response, that is what tells when a stream has ended.
        holdStream: response ? undefined : (value) => holdStream(value, lock, locks[INTERNALS], call),
        whenUnused: isSse ? (giveUp: () => boolean) => locks[INTERNALS].whenUnused(call, giveUp) : undefined,
      });
      if (subscriber.closed) handler.leave(); // it may have been left while the first value was emitted
      try {
        await handler.over;
      } finally {
        const cut = (): void => response && cutOff(response);
        if (rejectOnLoss) lock.signal.addEventListener('abort', cut);
        await responded;
        lock.signal.removeEventListener('abort', cut);
      }
    };
    // The handler's own errors have been told before: telling them again does nothing.
    locks[INTERNALS].tryRun({ ...call, signal: waiting.signal }, work).then(
      (result) => result.acquired || subscriber.error(result.error),
      (error) => subscriber.error(error),
    );
    return () => {
      waiting.abort();
      handler?.leave();
    };
  });
}

/** What a handler emits, run with the handle that stands in for a lock while locking is disabled. */
export function runWithoutLock(locks: LockService, key: string, next: CallHandler): Observable<unknown> {
  return new Observable((subscriber) =>
    locks[INTERNALS].runUnlocked(
      () => key,
      () => next.handle().subscribe(subscriber),
    ),
  );
}

function clientGone(): HttpException {
  return new HttpException('The client went away while it waited for the lock.', CLIENT_CLOSED_REQUEST);
}
