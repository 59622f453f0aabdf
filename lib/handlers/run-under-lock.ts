import {
  HttpException,
  StreamableFile,
  type ArgumentsHost,
  type CallHandler,
  type ExecutionContext,
} from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { finished, Readable, Stream } from 'node:stream';
import { Observable, Subscription, type Subscriber } from 'rxjs';
import type { Timer } from '../engine/clock.js';
import type { LockInternals } from '../lock-internals.js';
import type { Lock } from '../lock.js';
import type { LockCall } from '../options/lock-call.js';
import { holdStream } from './held-stream.js';

const SSE = '__sse__'; // the name of the metadata that @Sse() sets on a handler
// The status that nginx logs for a request whose client has gone.
const CLIENT_CLOSED_REQUEST = 499;

/**
 * Returns an Observable that runs a handler under the lock, and emits what the handler emits.
 * The lock is held from the subscription until the handler has ended and its response, if it
 * has one, has been sent.
 */
export function runUnderLock(
  internals: LockInternals,
  call: LockCall,
  context: ExecutionContext,
  next: CallHandler,
): Observable<unknown> {
  const response = httpResponseOf(context);
  const isSse = Reflect.hasMetadata(SSE, context.getHandler());
  return new Observable((subscriber) => {
    const waiting = new AbortController();
    const responded = response && responseOver(response);
    void responded?.then(() => waiting.abort(clientGone()));
    let handler: FollowedHandler | undefined;

    const work = async (lock: Lock): Promise<void> => {
      const followed = new FollowedHandler(internals, call, lock, subscriber, response !== undefined, isSse);
      followed.run(next);
      handler = followed;
      // The subscriber may have left while it received the first value.
      if (subscriber.closed) followed.leave();
      try {
        await followed.over;
      } finally {
        const cut = (): void => response && cutOff(response);
        if (call.settings.rejectOnLoss) lock.signal.addEventListener('abort', cut);
        await responded;
        lock.signal.removeEventListener('abort', cut);
      }
    };
    // If the handler failed, the subscriber has got the error already, and ignores this second
    // one.
    internals.tryRun({ ...call, signal: waiting.signal }, work).then(
      (result) => result.acquired || subscriber.error(result.error),
      (error) => subscriber.error(error),
    );
    return () => {
      waiting.abort();
      handler?.leave();
    };
  });
}

/**
 * Returns the response object of Node for an HTTP request, under Express and under Fastify;
 * `undefined` for messages, sockets and GraphQL.
 */
export function httpResponseOf(host: ArgumentsHost): ServerResponse | undefined {
  if (host.getType() !== 'http') return undefined;
  const response = host.switchToHttp().getResponse<ServerResponse | { raw: ServerResponse } | undefined>();
  const raw = response && 'raw' in response ? response.raw : response;
  // Some libraries call handlers through Nest's ExternalContextCreator. Their context may have
  // the type "http" and no response.
  return raw instanceof Stream ? raw : undefined;
}

/**
 * Passes what a handler emits to the subscriber, and knows when the handler has ended.
 *
 * Unsubscribing ends a stream, but it does not stop a promise. A handler that has emitted
 * nothing yet may be a promise. So the lock is held until the handler has ended, even if its
 * subscriber has left.
 */
class FollowedHandler {
  /**
   * Resolves when the handler has ended, and the streams that it emitted have ended, too. It
   * rejects if the handler failed.
   */
  readonly over: Promise<unknown>;
  readonly #source = new Subscription();
  readonly #streams: Promise<void>[] = [];
  #emitted = false;
  #ended = false;
  #unused: Timer | undefined;
  #settle: { resolve: () => void; reject: (error: unknown) => void } = { resolve() {}, reject() {} };

  constructor(
    private readonly internals: LockInternals,
    private readonly call: LockCall,
    private readonly lock: Lock,
    private readonly subscriber: Subscriber<unknown>,
    /** Whether there is an HTTP response. It ends when the streams in it have ended. */
    private readonly hasResponse: boolean,
    /**
     * Whether the handler is known to return a stream. A stream can be stopped at any time.
     */
    private readonly isStream: boolean,
  ) {
    const handled = new Promise<void>((resolve, reject) => (this.#settle = { resolve, reject }));
    this.over = handled.then(() => Promise.all(this.#streams));
  }

  run(handler: CallHandler): void {
    if (this.call.settings.rejectOnLoss) this.lock.signal.addEventListener('abort', this.#onLoss);
    this.#source.add(
      handler.handle().subscribe({
        next: (value: unknown) => this.#next(value),
        error: (error: unknown) => this.#fail(error),
        complete: () => this.#complete(),
      }),
    );
  }

  /** Called when the subscriber has left. */
  leave(): void {
    if (this.#ended) return;
    if (this.#emitted) this.#end();
    else if (this.isStream)
      this.#unused = this.internals.whenUnused(this.call, () => {
        this.#end();
        return true;
      });
  }

  #next(value: unknown): void {
    this.#emitted = true;
    if (this.#ended) return;
    if (this.subscriber.closed) {
      discard(value);
      this.#end();
    } else if (this.#stillHeld()) {
      // A GraphQL subscription emits an async iterable. There is no HTTP response that shows
      // its end, so the iterable itself is followed.
      const held = this.hasResponse ? undefined : holdStream(value, this.lock, this.internals, this.call);
      if (held) this.#streams.push(held.ended);
      this.subscriber.next(held ? held.stream : value);
    }
  }

  #complete(): void {
    if (this.#ended || !this.#stillHeld()) return;
    this.#end();
    this.subscriber.complete();
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#end(() => this.#settle.reject(error));
    this.subscriber.error(error);
  }

  #stillHeld(): boolean {
    if (!this.call.settings.rejectOnLoss || this.lock.held) return true;
    try {
      this.lock.assertHeld();
    } catch (error) {
      this.#fail(error);
    }
    return false;
  }

  /**
   * Called when the lock is lost. A stream is ended at once. The work of a promise cannot be
   * stopped, so its end is awaited.
   */
  readonly #onLoss = (): void => {
    if (this.#emitted || this.isStream) this.#fail(this.lock.loss);
  };

  #end(settle = this.#settle.resolve): void {
    this.#ended = true;
    this.#unused?.cancel();
    this.lock.signal.removeEventListener('abort', this.#onLoss);
    this.#source.unsubscribe();
    settle();
  }
}

/**
 * Destroys a body that comes after its request has ended, so that the file that it reads is
 * closed.
 */
function discard(value: unknown): void {
  const stream = value instanceof StreamableFile ? value.getStream() : value;
  if (stream instanceof Readable) stream.destroy();
}

/** Resolves when the response has been sent, or when its client has gone. */
function responseOver(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const removeListeners = finished(response, () => {
      removeListeners();
      resolve();
    });
  });
}

/**
 * Closes the connection of a response that is still being sent, so that its client does not
 * take the part that it got for the whole.
 */
function cutOff(response: ServerResponse): void {
  if (response.headersSent && !response.writableEnded) response.destroy();
}

function clientGone(): HttpException {
  return new HttpException('The client went away while it waited for the lock.', CLIENT_CLOSED_REQUEST);
}
