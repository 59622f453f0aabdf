import { HttpException, type CallHandler, type ExecutionContext } from '@nestjs/common';
import { Observable } from 'rxjs';
import type { Lock } from '../lock.js';
import type { LockCall } from '../lock-contender.js';
import type { LockService } from '../lock.service.js';
import { FollowedHandler, type FollowRules } from './followed-handler.js';
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
  const isStream = Reflect.hasMetadata(SSE, context.getHandler());
  const rules: FollowRules = {
    ignoreLoss: call.settings.onLost === 'ignore',
    whenUnused: isStream ? (giveUp) => locks.whenUnused(call, giveUp) : undefined,
  };
  return new Observable((subscriber) => {
    const response = httpResponseOf(context);
    const responded = response && responseOver(response);
    const waiting = new AbortController();
    void responded?.then(() => waiting.abort(clientGone()));
    let handler: FollowedHandler | undefined;

    const work = async (lock: Lock): Promise<void> => {
      waiting.signal.throwIfAborted();
      handler = new FollowedHandler(next, subscriber, lock, rules);
      try {
        await handler.over;
      } finally {
        const cut = (): void => response && cutOff(response);
        if (!rules.ignoreLoss) lock.signal.addEventListener('abort', cut);
        await responded;
        lock.signal.removeEventListener('abort', cut);
      }
    };
    // Errors that the handler's followers know are told twice: the second time does nothing.
    locks.runJob({ ...call, signal: waiting.signal }, work).then(
      (result) => result.acquired || subscriber.error(result.error),
      (error) => subscriber.error(error),
    );
    return () => {
      waiting.abort();
      handler?.leave();
    };
  });
}

function clientGone(): HttpException {
  return new HttpException('The client went away while it waited for the lock.', CLIENT_CLOSED_REQUEST);
}
