import { Inject } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { LockError, show } from '../lock.errors.js';
import { DEFAULT_MODULE, getLockServiceToken, lockServiceProperty } from '../lock.tokens.js';
import { LockedMethod, methodsOf } from './locked-method.js';
import { isScheduled } from './scheduling/scheduler.js';
import { assertLockedOptions, type LockedBehaviour, type LockedOptions } from './locked.options.js';

// The types that a method under `@Locked()` may return. A method that returns a plain value is
// refused, because its callers get a promise in any case.
type Answer = PromiseLike<unknown> | Observable<unknown> | AsyncIterable<unknown>;

type AnswersLater<Method extends (...args: never[]) => unknown> =
  ReturnType<Method> extends Answer
    ? unknown
    : { error: '@Locked() needs a method that returns a promise: make it async.' };

type TakesParametersOf<Args extends readonly unknown[], Method extends (...args: never[]) => unknown> = ((
  ...args: Args
) => void) extends (...args: Parameters<Method>) => void
  ? unknown
  : { error: 'The functions in the options of @Locked() do not take the parameters of this method.' };

/**
 * The decorator that `Locked()` returns. It fits classes, and methods that return a promise.
 * The functions in the options have to accept the parameters of the method.
 *
 * `Args` are the parameters of the key function, `BusyArgs` those of `onBusy` after the error.
 * Each function may take fewer parameters than the method.
 *
 * @publicApi
 */
export interface LockedDecorator<
  Args extends readonly unknown[],
  BusyArgs extends readonly unknown[] = Args,
> {
  <Method extends (...args: never[]) => unknown>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Method> &
      AnswersLater<Method> &
      TakesParametersOf<Args, Method> &
      TakesParametersOf<BusyArgs, Method>,
  ): void;
  (target: abstract new (...args: never[]) => unknown): void;
}

const INJECTED = Symbol('nestjs-locked: modules whose service is injected');

/**
 * Runs a method under a lock, so that one instance of the application runs it at a time. On a
 * class, it locks each method that the scheduler calls. A class without such methods counts as
 * a command, and its method `run` is locked.
 *
 * A call by the scheduler runs once per tick, or interval, over all instances. A call by hand
 * runs whenever the lock is free.
 *
 * The decorator takes the lock and renews it while the method runs. It releases the lock when
 * the promise that the method returned has settled, or its stream has ended. The key is
 * `ClassName.methodName` unless the options or the first argument name a key.
 *
 * It works with every decorator of Nest, in any order. Put it above `@Transactional()`, so
 * that the lock is released after the commit.
 *
 * Two examples:
 * - `@Cron('0 2 * * *')` and `@Locked()` above a method run it each night, on one instance.
 * - `@Locked({ key: (id: string) => 'order:' + id, wait: '5s' })` above `ship(id: string)`
 *   runs one call at a time for each order. Other calls wait for 5 s at most.
 *
 * @throws LockError while the class is defined, for options that cannot work and for targets
 * that are no methods
 * @publicApi
 */
export function Locked(): LockedDecorator<readonly unknown[]>;
export function Locked<Args extends readonly unknown[]>(
  key: string,
  options?: LockedBehaviour<Args>,
): LockedDecorator<Args>;
export function Locked<Args extends readonly unknown[], BusyArgs extends readonly unknown[] = Args>(
  options: LockedBehaviour<BusyArgs> & Pick<LockedOptions<Args>, 'key'>,
): LockedDecorator<Args, BusyArgs>;
export function Locked(...given: [(string | LockedOptions<never>)?, LockedOptions<never>?]) {
  return (target: object, name?: string | symbol, descriptor?: PropertyDescriptor): void => {
    const where = describeTarget(target, name);
    const options = readOptions(where, given);
    if (typeof target === 'function' && name === undefined) return lockClass(target, options);
    const original: unknown = descriptor?.value;
    if (typeof target === 'function' || name === undefined || !descriptor || typeof original !== 'function') {
      throw new LockError(
        `@Locked() on ${where} cannot work: put @Locked() on a class, or on a method of a provider or controller. It cannot lock static methods, properties and accessors.`,
      );
    }
    descriptor.value = lockMethod(target, name, original, options);
  };
}

/** Makes the wrapper of a method, which runs the method under a lock. */
function lockMethod(
  prototype: object,
  name: string | symbol,
  original: Function,
  options: LockedOptions<never>,
): Function {
  const where = describeTarget(prototype, name);
  assertLockedOptions(`@Locked() on ${where}`, options);
  injectService(prototype, options.module ?? DEFAULT_MODULE);
  const locked = new LockedMethod(where, String(name), original, options);
  if (locked.innerTakesSameLock)
    throw new LockError(
      `${where} is under @Locked() twice with one key: the inner call would wait for the outer one. Remove one of the two decorators.`,
    );
  return locked.wrapper;
}

/**
 * Locks the methods that the scheduler calls, including inherited ones. A class without such
 * methods is taken for a command, and its `run` is locked. Methods with a `@Locked()` of their
 * own stay as they are.
 */
function lockClass(target: Function, options: LockedOptions<never>): void {
  const prototype: object = target.prototype;
  const methods = [...methodsOf(prototype)].filter(([name]) => typeof name === 'string');
  const scheduled = methods.filter(([, method]) => isScheduled(method));
  const found = scheduled.length > 0 ? scheduled : methods.filter(([name]) => name === 'run');
  if (found.length === 0)
    throw new LockError(
      `@Locked() on the class ${target.name} finds nothing to lock: the class has no method that the scheduler calls, and no method run() of a command. Put @Locked() on the methods to lock.`,
    );
  const bare = found.filter(([, method]) => !LockedMethod.of(method));
  if (bare.length === 0)
    throw new LockError(
      `@Locked() on the class ${target.name} would change nothing, because every method that it would lock has its own @Locked(). Remove it from the class or from the methods.`,
    );
  for (const [name, method] of bare) {
    const value = lockMethod(prototype, name, method, options);
    Object.defineProperty(prototype, name, { value, configurable: true, writable: true, enumerable: false });
  }
}

function readOptions(
  where: string,
  [first, second]: [(string | LockedOptions<never>)?, LockedOptions<never>?],
): LockedOptions<never> {
  if (typeof first !== 'string') {
    if (second === undefined) return first === undefined ? {} : first;
    throw new LockError(
      `@Locked() on ${where} got options twice. Give either options alone, or a key and then options.`,
    );
  }
  if (second === undefined) return { key: first };
  if (typeof second !== 'object' || second === null || Array.isArray(second))
    throw new LockError(
      `The options of @Locked() on ${where} must be an object, but they are ${show(second)}.`,
    );
  if ('key' in second) throw new LockError(`@Locked() on ${where} has two keys. Give the key once.`);
  return { ...second, key: first };
}

function injectService(prototype: object, module: string): void {
  const injected: readonly string[] = Reflect.getMetadata(INJECTED, prototype) ?? [];
  if (injected.includes(module)) return;
  Reflect.defineMetadata(INJECTED, [...injected, module], prototype);
  Inject(getLockServiceToken(module))(prototype, lockServiceProperty(module));
}

function describeTarget(target: object, name: string | symbol | undefined): string {
  const owner = typeof target === 'function' ? target.name : target.constructor.name;
  return name === undefined ? owner : `${owner}.${String(name)}`;
}
