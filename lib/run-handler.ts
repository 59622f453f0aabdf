import { StreamableFile } from '@nestjs/common';
import { finished, Readable } from 'node:stream';
import { isObservable, Observable } from 'rxjs';
import type { LockCall } from './lock-contender.js';
import { LockContext } from './lock-context.js';
import { LockError, type LockLostError } from './lock.errors.js';
import type { Lock } from './lock.js';
import type { LockService, TryRunResult } from './lock.service.js';

/**
 * Runs a handler under the lock like `tryRun`. When it gives a stream (an Observable, an async iterable, a Node stream), that is the result at
 * once, and the lock is held until the stream has ended or was torn down; a stream whose lock is lost ends with `LockLostError`.
 */
export function runHandler(
  locks: LockService,
  call: LockCall,
  handler: () => Promise<unknown>,
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
    locks.runJob(call, work).then(resolve, reject);
  });
}

/** A stream that has to be used in place of the given one, and when its use has ended; `undefined` for what is no stream. */
export function holdStream(
  value: unknown,
  lock: Lock,
  locks: LockService,
  call: LockCall,
): { stream: unknown; ended: Promise<void> } | undefined {
  if (!isStream(value)) return undefined;
  const use = new StreamUse(lock, locks, call);
  return { stream: holdWhileUsed(value, use), ended: use.ended };
}

type Stream = Observable<unknown> | AsyncIterable<unknown> | StreamableFile;

function isStream(value: unknown): value is Stream {
  return (
    isObservable(value) ||
    value instanceof StreamableFile ||
    (typeof value === 'object' && value !== null && Symbol.asyncIterator in value)
  );
}

function holdWhileUsed(stream: Stream, use: StreamUse): Stream {
  if (isObservable(stream)) return holdObservable(stream, use);
  if (stream instanceof StreamableFile) holdReadable(stream.getStream(), use);
  else if (stream instanceof Readable) holdReadable(stream, use);
  else return holdIterable(stream, use);
  return stream;
}

function holdObservable(source: Observable<unknown>, use: StreamUse): Observable<unknown> {
  return new Observable((subscriber) => {
    const end = use.begin((error) => subscriber.error(error));
    const subscription = use.run(() => source.subscribe(subscriber));
    return () => {
      subscription.unsubscribe();
      end();
    };
  });
}

function holdReadable(stream: Readable, use: StreamUse): void {
  const end = use.begin((error) => stream.destroy(error));
  const removeListeners = finished(stream, { writable: false }, () => {
    removeListeners();
    end();
  });
}

function holdIterable(source: AsyncIterable<unknown>, use: StreamUse): AsyncIterable<unknown> {
  return {
    [Symbol.asyncIterator](): AsyncIterableIterator<unknown> {
      let onLost: (error: LockLostError) => void = () => {};
      const lost = new Promise<never>((_, reject) => (onLost = reject));
      lost.catch(() => {}); // nobody may be waiting when it is lost
      const end = use.begin((error) => onLost(error));
      const iterator = source[Symbol.asyncIterator]();
      const closeSource = async (value?: unknown): Promise<IteratorResult<unknown>> =>
        (await iterator.return?.(value)) ?? { done: true, value };
      lost.catch(() => closeSource()).catch(() => {}); // the loss is the error that surfaces
      return {
        async next() {
          let result: IteratorResult<unknown> = { done: true, value: undefined };
          try {
            result = await Promise.race([lost, use.run(() => iterator.next())]);
            return result;
          } finally {
            if (result.done) end();
          }
        },
        async return(value: unknown) {
          try {
            return await use.run(() => closeSource(value));
          } finally {
            end();
          }
        },
        [Symbol.asyncIterator]() {
          return this;
        },
      };
    },
  };
}

/** Whether a stream is in use, from its first user to its last. One that nobody uses is given up after a ttl. */
class StreamUse {
  readonly ended: Promise<void>;
  #end: () => void = () => {};
  #over = false;
  #users = 0;
  readonly #unused: { cancel(): void };

  constructor(
    private readonly lock: Lock,
    locks: LockService,
    private readonly call: LockCall,
  ) {
    this.ended = new Promise((resolve) => {
      this.#end = () => {
        this.#over = true;
        resolve();
      };
    });
    this.#unused = locks.whenUnused(call, this.#end);
  }

  /** What the stream does belongs to the lock's context. */
  run<T>(work: () => T): T {
    return LockContext.run(this.lock, work);
  }

  /**
   * Returns what is to be called at the end of this use.
   *
   * @throws LockError when the lock is not held any more: a stream that is used again, or too late, must not run unlocked
   */
  begin(onLost: (error: LockLostError) => void): () => void {
    if (this.#over) throw usedTooLate(this.call);
    if (this.lock.loss && this.call.settings.onLost !== 'ignore') throw this.lock.loss;
    this.#unused.cancel();
    this.#users++;
    const listener = (): void => {
      if (this.lock.loss) onLost(this.lock.loss);
    };
    if (this.call.settings.onLost !== 'ignore')
      this.lock.signal.addEventListener('abort', listener, { once: true });
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.lock.signal.removeEventListener('abort', listener);
      if (--this.#users === 0) this.#end();
    };
  }
}

function usedTooLate({ key, job }: LockCall): LockError {
  return new LockError(
    `The stream of ${job ?? 'a handler'} was used when its lock "${key}" had been released: it had been used to its end before, or by nobody for a ttl. Call the handler again.`,
  );
}
