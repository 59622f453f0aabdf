import { StreamableFile } from '@nestjs/common';
import { finished, Readable } from 'node:stream';
import { isObservable, Observable } from 'rxjs';
import type { LockCall } from './lock-contender.js';
import { LockContext } from './lock-context.js';
import { LockError, type LockLostError } from './lock.errors.js';
import type { Lock } from './lock.js';
import type { LockService } from './lock.service.js';

/** A stream that has to be used in place of the given one, and when its use has ended; `undefined` for what is no stream. */
export function holdStream(
  value: unknown,
  lock: Lock,
  locks: LockService,
  call: LockCall,
): { stream: unknown; ended: Promise<void> } | undefined {
  if (!isStream(value)) return undefined;
  const readable = readableOf(value);
  const use = new StreamUse(lock, locks, call, readable);
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
  const readable = readableOf(stream);
  if (!readable) return holdIterable(stream as AsyncIterable<unknown>, use);
  holdReadable(readable, use);
  return stream;
}

function readableOf(stream: unknown): Readable | undefined {
  const readable = stream instanceof StreamableFile ? stream.getStream() : stream;
  return readable instanceof Readable ? readable : undefined;
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

/** The same object, but for its iteration: a `ReadableStream` or a cursor can do more than be iterated. */
function holdIterable(source: AsyncIterable<unknown>, use: StreamUse): AsyncIterable<unknown> {
  let started: HeldIterator | undefined;
  // An iterator is used once, whether it is iterated or asked for its next item.
  const iterator = (): HeldIterator => (started ??= new HeldIterator(source, use));
  return new Proxy(source, {
    get(target, property) {
      if (property === Symbol.asyncIterator)
        return () => ('next' in target ? iterator() : new HeldIterator(source, use));
      if (property === 'next' || property === 'return' || property === 'throw') {
        if (property in target) return (value: unknown) => iterator()[property](value);
      }
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' && !Object.hasOwn(target, property) ? value.bind(target) : value;
    },
  });
}

/** An iteration that is one use of its stream. */
class HeldIterator implements AsyncIterableIterator<unknown> {
  readonly #iterator: AsyncIterator<unknown>;
  readonly #lost: Promise<never>;
  readonly #end: () => void;

  constructor(
    source: AsyncIterable<unknown>,
    private readonly use: StreamUse,
  ) {
    let onLost: (error: LockLostError) => void = () => {};
    this.#lost = new Promise<never>((_, reject) => (onLost = reject));
    this.#end = use.begin((error) => onLost(error));
    this.#iterator = source[Symbol.asyncIterator]();
    this.#lost.catch(async () => this.#iterator.return?.()).catch(() => {}); // the loss is the error that surfaces
  }

  async next(): Promise<IteratorResult<unknown>> {
    let result: IteratorResult<unknown> = { done: true, value: undefined };
    try {
      result = await Promise.race([this.#lost, this.use.run(() => this.#iterator.next())]);
      return result;
    } finally {
      if (result.done) this.#end();
    }
  }

  return(value?: unknown): Promise<IteratorResult<unknown>> {
    return this.#finish(async () => (await this.#iterator.return?.(value)) ?? { done: true, value });
  }

  throw(error?: unknown): Promise<IteratorResult<unknown>> {
    return this.#finish(async () => {
      if (this.#iterator.throw) return this.#iterator.throw(error);
      throw error;
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #finish(close: () => Promise<IteratorResult<unknown>>): Promise<IteratorResult<unknown>> {
    try {
      return await this.use.run(close);
    } finally {
      this.#end();
    }
  }
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
    /** A Node stream: it is followed from the beginning, and in use from its first read. */
    private readonly readable?: Readable,
  ) {
    this.ended = new Promise((resolve) => {
      this.#end = () => {
        this.#over = true;
        resolve();
      };
    });
    this.#unused = locks.whenUnused(call, () => this.#giveUp());
  }

  #giveUp(): boolean {
    if (this.readable?.readableDidRead) return false;
    this.#end();
    this.readable?.destroy(usedTooLate(this.call)); // read later, it would be read unlocked
    return true;
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
    if (!this.readable) this.#unused.cancel();
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
      this.#unused.cancel();
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
