import {
  Inject,
  Injectable,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
  type Type,
} from '@nestjs/common';
import { Observable } from 'rxjs';
import { assertKeyOf, assertLockedOptions } from '../decorators/locked.options.js';
import { assertKey } from '../options/lock-key.js';
import { LockError } from '../lock.errors.js';
import { INTERNALS, type LockInternals } from '../lock-internals.js';
import type { LockOptions, LossOptions } from '../options/lock.options.js';
import { LOCK_OPTIONS, type LockSettings } from '../options/lock.settings.js';
import { LockService } from '../lock.service.js';
import { getLockServiceToken } from '../lock.tokens.js';
import { runUnderLock } from './run-under-lock.js';
import { assertKnownOptions } from '../options/known-options.js';

/** The key of a handler, or a function that makes it from the request. @publicApi */
export type LockInterceptorKey = string | ((context: ExecutionContext) => string | Promise<string>);

/** Options of `LockInterceptor`. @publicApi */
export type LockInterceptorOptions = LockOptions &
  LossOptions & {
    /** The name of the `LockModule` to use. Default: the module without a name. */
    module?: string | undefined;
  };

const OPTIONS = [...LOCK_OPTIONS, 'rejectOnLoss', 'module'];

/**
 * Makes an interceptor that runs handlers under a lock whose key comes from the
 * `ExecutionContext`.
 *
 * HTTP: the lock is held until the handler has ended and its response, even a streamed one,
 * has been sent or its client has gone. If the client goes during the wait, the wait ends.
 * Messages and GraphQL: the lock is held until what the handler returned has completed. Guards
 * run before the lock is acquired, pipes run under it.
 *
 * Unsubscribing early, as a time-out does, never releases the lock while the handler runs:
 * until the handler has emitted something it may be a promise, which cannot be stopped. Only
 * the silent stream of an `@Sse()` handler is given up, after one ttl (30 s at most), with a
 * warning.
 *
 * One request at a time for each order, and the others wait for 2 s at most:
 * `@UseInterceptors(LockInterceptor((context) => orderOf(context), { wait: '2s' }))`
 *
 * The request fails with `LockNotAcquiredError` when the lock is busy, see
 * `LockExceptionFilter`, and with `LockStoreError` when the store fails: then the handler did
 * not run. It fails with `LockLostError` when the lock was lost before the handler ended.
 *
 * @throws LockError for options and keys that cannot work
 * @publicApi
 */
export function LockInterceptor(
  key: LockInterceptorKey,
  options: LockInterceptorOptions = {},
): Type<NestInterceptor> {
  assertOptions(key, options);

  @Injectable()
  class LockMixinInterceptor implements NestInterceptor {
    readonly #internals: LockInternals;
    readonly #settings: LockSettings;

    constructor(@Inject(getLockServiceToken(options.module)) locks: LockService) {
      this.#internals = locks[INTERNALS];
      this.#settings = this.#internals.settingsFor('LockInterceptor()', options);
    }

    async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
      const internals = this.#internals;
      const job = `${context.getClass().name}.${context.getHandler().name}`;
      if (internals.enabled) {
        const made = await makeKey(key, context, job);
        return runUnderLock(internals, { key: made, settings: this.#settings, job }, context, next);
      }
      // Locking is disabled, so the key is only needed for the fencing token. If the key
      // cannot be made, the name of the handler takes its place, and the handler runs.
      const known = await makeKey(key, context, job).catch(() => job);
      return new Observable((subscriber) =>
        internals.runUnlocked(
          () => known,
          () => next.handle().subscribe(subscriber),
        ),
      );
    }
  }

  // If Nest finds no LockService to inject, its error shows the name of this class. So the
  // name says what is missing.
  const module = options.module ? `{ name: '${options.module}', store }` : '{ store }';
  Object.defineProperty(LockMixinInterceptor, 'name', {
    value: `LockInterceptor, which needs LockModule.forRoot(${module}) in the root module,`,
  });
  return LockMixinInterceptor;
}

function assertOptions(key: unknown, options: LockInterceptorOptions): void {
  if (typeof key !== 'string' && typeof key !== 'function')
    throw new LockError('LockInterceptor() needs a key, or a function that makes it from the context.');
  if (typeof key === 'string') assertKey(key);
  assertKnownOptions('LockInterceptor()', options, OPTIONS);
  assertLockedOptions('LockInterceptor()', options);
}

async function makeKey(key: LockInterceptorKey, context: ExecutionContext, job: string): Promise<string> {
  if (typeof key === 'string') return key;
  const made: unknown = await key(context);
  assertKeyOf(made, `The key function of LockInterceptor() on ${job} returned no key.`);
  return made;
}
