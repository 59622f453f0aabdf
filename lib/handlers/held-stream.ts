import { StreamableFile } from '@nestjs/common';
import { finished, Readable } from 'node:stream';
import { isObservable, Observable } from 'rxjs';
import type { LockCall, TryRunResult } from '../options/lock-call.js';
import { LockContext } from '../lock-context.js';
import { LockError, type LockLostError } from '../lock.errors.js';
import type { Lock } from '../lock.js';
import type { LockInternals } from '../lock-internals.js';

/**
 * Runs a handler under the lock. If the handler returns a stream, the promise resolves to a
 * stream at once, and the lock is held until that stream has ended. Streams are Observables,
 * async iterables and Node streams. A stream whose lock is lost ends with `LockLostError`.
 *
 * @param run runs work under the lock
 */
export function runHandler(
  internals: LockInternals,
  call: LockCall,
  run: (work: (lock: Lock) => unknown) => Promise<TryRunResult<unknown>>,
  handler: () => unknown,
): Promise<TryRunResult<unknown>> {
  return new Promise((resolve, reject) => {
    const work = async (lock: Lock): Promise<unknown> => {
      const value = await handler();
      const held = holdStream(value, lock, internals, call);
      if (!held) return value;
      resolve({ acquired: true, value: held.stream });
      await held.ended;
      return value;
    };
    run(work).then(resolve, reject);
  });
}

/**
 * Wraps a stream that a handler has returned, so that the lock is held while the stream is in
 * use. Returns the stream to use instead, and a promise that resolves at the end of its use;
 * `undefined` if the value is no stream.
 */
export function holdStream(
  value: unknown,
  lock: Lock,
  internals: LockInternals,
  call: LockCall,
): { stream: unknown; ended: Promise<void> } | undefined {
  const body: unknown = value instanceof StreamableFile ? value.getStream() : value;
  const readable = body instanceof Readable ? body : undefined;
  if (!readable && !isObservable(value) && !isIterable(value)) return undefined;
  const use = new StreamUse(lock, internals, call, readable);
  let stream = value;
  if (readable) holdReadable(readable, use);
  else if (isObservable(value)) stream = holdObservable(value, use);
  else if (value instanceof ReadableStream) stream = holdWebStream(value, use);
  else if (isIterable(value)) stream = holdIterable(value, use);
  return { stream, ended: use.ended };
}

function isIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
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

/** Wraps a web stream. It counts as in use from its first read. */
function holdWebStream(source: ReadableStream<unknown>, use: StreamUse): ReadableStream<unknown> {
  const items = new HeldIterator(source, use);
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await items.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: async (reason) => void (await items.return(reason)),
    },
    { highWaterMark: 0 },
  );
}

/**
 * Wraps an iterable in an object that can only be iterated. Other methods of the source are
 * left out, since a call of them would not hold the lock.
 */
function holdIterable(source: AsyncIterable<unknown>, use: StreamUse): AsyncIterable<unknown> {
  if ('next' in source) return new HeldIterator(source, use);
  return { [Symbol.asyncIterator]: () => new HeldIterator(source, use) };
}

/** Iterates over a stream. The stream counts as in use from the first call of `next()`. */
class HeldIterator implements AsyncIterableIterator<unknown> {
  #started: { iterator: AsyncIterator<unknown>; end: () => void } | undefined;
  #lost: LockLostError | undefined;
  // Ends the pending `next()` when the lock is lost. A promise for the loss, raced against
  // each item, would keep all items in memory.
  #loseNext: ((error: LockLostError) => void) | undefined;

  constructor(
    private readonly source: AsyncIterable<unknown>,
    private readonly use: StreamUse,
  ) {}

  async next(): Promise<IteratorResult<unknown>> {
    let result: IteratorResult<unknown> = { done: true, value: undefined };
    const { iterator, end } = this.#start();
    try {
      if (this.#lost) throw this.#lost;
      result = await new Promise((resolve, reject) => {
        this.#loseNext = reject;
        this.use.run(() => iterator.next()).then(resolve, reject);
      });
      return result;
    } finally {
      this.#loseNext = undefined;
      if (result.done) end();
    }
  }

  return(value?: unknown): Promise<IteratorResult<unknown>> {
    return this.#finish(async (iterator) => (await iterator.return?.(value)) ?? { done: true, value });
  }

  throw(error?: unknown): Promise<IteratorResult<unknown>> {
    return this.#finish(async (iterator) => {
      if (iterator.throw) return iterator.throw(error);
      throw error;
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #start(): { iterator: AsyncIterator<unknown>; end: () => void } {
    this.#started ??= {
      end: this.use.begin((error) => this.#lose(error)),
      iterator: this.source[Symbol.asyncIterator](),
    };
    return this.#started;
  }

  #lose(error: LockLostError): void {
    this.#lost = error;
    this.#loseNext?.(error);
    const close = async (): Promise<unknown> => this.#started?.iterator.return?.();
    // The reader gets the loss of the lock, so an error of closing is ignored.
    close().catch(() => {});
  }

  async #finish(
    close: (iterator: AsyncIterator<unknown>) => Promise<IteratorResult<unknown>>,
  ): Promise<IteratorResult<unknown>> {
    const { iterator, end } = this.#start();
    try {
      return await this.use.run(() => close(iterator));
    } finally {
      end();
    }
  }
}

/**
 * Counts the readers of one stream. The use of the stream lasts from the start of its first
 * reader to the end of its last reader. A stream without a reader is given up after the ttl of
 * its lock.
 */
class StreamUse {
  readonly ended: Promise<void>;
  #end: () => void = () => {};
  #over = false;
  #users = 0;
  readonly #unused: { cancel(): void };

  constructor(
    private readonly lock: Lock,
    internals: LockInternals,
    private readonly call: LockCall,
    /**
     * The stream, if it is a Node stream. It is watched from the beginning, but counts as in
     * use from its first read.
     */
    private readonly readable?: Readable,
  ) {
    this.ended = new Promise((resolve) => {
      this.#end = () => {
        this.#over = true;
        resolve();
      };
    });
    this.#unused = internals.whenUnused(call, () => this.#giveUp());
  }

  #giveUp(): boolean {
    if (this.readable && isInUse(this.readable)) return false;
    this.#end();
    // The stream is destroyed, so that a later read fails instead of running without the lock.
    this.readable?.destroy(usedTooLate(this.call));
    return true;
  }

  /** Runs code of the stream, which then finds the lock in its `LockContext`. */
  run<T>(work: () => T): T {
    return LockContext.run(this.lock, work);
  }

  /**
   * Notes that a reader begins, and returns the function to call when the reader ends.
   *
   * @throws LockError when the lock was released, or LockLostError when it was lost: a stream
   * must not run without the lock if it is read a second time or too late
   */
  begin(onLost: (error: LockLostError) => void): () => void {
    if (this.#over) throw usedTooLate(this.call);
    const { loss, signal } = this.lock;
    const { rejectOnLoss } = this.call.settings;
    if (loss && rejectOnLoss) throw loss;
    if (!this.readable) this.#unused.cancel();
    this.#users++;
    const listener = (): void => {
      if (this.lock.loss) onLost(this.lock.loss);
    };
    if (rejectOnLoss) signal.addEventListener('abort', listener, { once: true });
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#unused.cancel();
      signal.removeEventListener('abort', listener);
      if (--this.#users === 0) this.#end();
    };
  }
}

/**
 * Whether the stream is being piped, iterated or listened to, even if it has emitted nothing
 * yet.
 */
function isInUse(stream: Readable): boolean {
  return stream.readableDidRead || stream.readableFlowing !== null || stream.listenerCount('readable') > 0;
}

function usedTooLate({ key, job }: LockCall): LockError {
  return new LockError(
    `The stream of ${job ?? 'a handler'} was used when its lock "${key}" had been released: it had been read to its end before, or was not read for as long as the lock's ttl. Call the handler again.`,
  );
}
