import { StreamableFile, type CallHandler } from '@nestjs/common';
import { Readable } from 'node:stream';
import { Subscription, type Subscriber } from 'rxjs';
import type { Timer } from '../engine/clock.js';
import type { Lock } from '../lock.js';

/** How a handler is followed. */
export interface FollowRules {
  /** Whether the caller gets an error if the lock is lost. */
  rejectOnLoss: boolean;
  /** Puts a stream that is held in the place of one that the handler emits (a GraphQL subscription's async iterable). */
  holdStream?: (value: unknown) => { stream: unknown; ended: Promise<void> } | undefined;
  /** For handlers that are known to return a stream: calls back, later, to give up one that was left before it emitted anything. */
  whenUnused?: (giveUp: () => boolean) => Timer;
}

/**
 * Passes on what a handler emits, and knows when it is over.
 *
 * Unsubscribing tears a stream down, but it does not stop a promise: until the handler has emitted something, it is followed to its end although
 * nobody listens any more.
 */
export class FollowedHandler {
  /** Resolves when the handler and the streams that it emitted have ended; rejects if it failed. */
  readonly over: Promise<unknown>;
  readonly #source = new Subscription();
  readonly #streams: Promise<void>[] = [];
  #emitted = false;
  #ended = false;
  #unused: Timer | undefined;
  #settle: { resolve: () => void; reject: (error: unknown) => void } = { resolve() {}, reject() {} };

  constructor(
    handler: CallHandler,
    private readonly subscriber: Subscriber<unknown>,
    private readonly lock: Lock,
    private readonly rules: FollowRules,
  ) {
    const handled = new Promise<void>((resolve, reject) => (this.#settle = { resolve, reject }));
    this.over = handled.then(() => Promise.all(this.#streams));
    if (rules.rejectOnLoss) lock.signal.addEventListener('abort', this.#onLoss);
    this.#source.add(
      handler.handle().subscribe({
        next: (value: unknown) => this.#next(value),
        error: (error: unknown) => this.#fail(error),
        complete: () => this.#complete(),
      }),
    );
  }

  /** Nobody listens any more. */
  leave(): void {
    if (this.#ended) return;
    if (this.#emitted) this.#end();
    else
      this.#unused = this.rules.whenUnused?.(() => {
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
      const held = this.rules.holdStream?.(value);
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
    if (!this.rules.rejectOnLoss || this.lock.held) return true;
    try {
      this.lock.assertHeld();
    } catch (error) {
      this.#fail(error);
    }
    return false;
  }

  /** A promise is awaited and then found lost: what it does cannot be stopped. A stream can. */
  readonly #onLoss = (): void => {
    if (this.#emitted || this.rules.whenUnused) this.#fail(this.lock.loss);
  };

  #end(settle = this.#settle.resolve): void {
    this.#ended = true;
    this.#unused?.cancel();
    this.lock.signal.removeEventListener('abort', this.#onLoss);
    this.#source.unsubscribe();
    settle();
  }
}

/** Nobody else would close the file behind a body that comes when its request is over. */
function discard(value: unknown): void {
  const stream = value instanceof StreamableFile ? value.getStream() : value;
  if (stream instanceof Readable) stream.destroy();
}
