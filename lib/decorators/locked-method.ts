import { LockError, type LockNotAcquiredError } from '../lock.errors.js';
import type { LockSettings } from '../options/lock.settings.js';
import { INTERNALS, type LockInternals } from '../lock-internals.js';
import type { LockService } from '../lock.service.js';
import { DEFAULT_MODULE, lockServiceProperty } from '../lock.tokens.js';
import { runHandler } from '../handlers/held-stream.js';
import { Schedule } from './scheduling/schedule.js';
import { onceIn, runScheduled } from './scheduling/scheduled-run.js';
import type { Lock } from '../lock.js';
import type { TryRunResult } from '../options/lock-call.js';
import { isScheduled, kindOf, type Firing } from './scheduling/scheduler.js';
import { assertKeyOf, type LockedOptions } from './locked.options.js';

const LOCKED_METHOD = Symbol('nestjs-locked: method');

/** A method under `@Locked()`: its options, and the function that replaces it. */
export class LockedMethod {
  readonly wrapper: (this: unknown, ...args: unknown[]) => unknown;
  /** The next `@Locked()` below this decorator, if the method has several of them. */
  readonly inner: LockedMethod | undefined;
  /**
   * The function that the class has in the end. Other decorators may have wrapped the wrapper
   * of `@Locked()`, and `@Cron()` puts its metadata on the outermost function.
   */
  outermost: Function;
  /**
   * Whether the method has another `@Locked()` above this decorator. The scheduler then calls
   * the wrapper of the outer decorator.
   */
  underOuterLocked = false;
  readonly #settings = new WeakMap<LockInternals, LockSettings>();

  /**
   * Returns what `@Locked()` has noted about a function; `undefined` for a function without
   * it.
   */
  static of(method: unknown): LockedMethod | undefined {
    return typeof method === 'function' ? Reflect.getOwnMetadata(LOCKED_METHOD, method) : undefined;
  }

  constructor(
    /** `ClassName.methodName` of the class that declares the method. */
    readonly where: string,
    private readonly name: string,
    private readonly original: Function,
    private readonly options: LockedOptions<never>,
  ) {
    this.inner = LockedMethod.of(original);
    this.wrapper = this.#wrap(lockServiceProperty(this.module));
    this.outermost = this.wrapper;
    copyIdentity(original, this.wrapper);
    Reflect.defineMetadata(LOCKED_METHOD, this, this.wrapper);
  }

  /** The name of the `LockModule` that the method uses. */
  get module(): string {
    return this.options.module ?? DEFAULT_MODULE;
  }

  /**
   * Whether another `@Locked()` on the method takes the same lock. The inner decorator would
   * then wait for the lock that the outer decorator holds.
   */
  get innerTakesSameLock(): boolean {
    const { key } = this.options;
    if (this.inner?.options.reentrant) return false;
    return this.inner?.module === this.module && this.inner.options.key === key && typeof key !== 'function';
  }

  get hasDefaultKey(): boolean {
    return this.options.key === undefined;
  }

  /**
   * What a call does when the lock is busy. It is decided at each call, since `@Cron()` may be
   * applied after `@Locked()`, and the default depends on it.
   */
  get busyBehaviour(): 'skip' | 'throw' | 'callback' {
    const { onBusy } = this.options;
    if (typeof onBusy === 'function') return 'callback';
    return onBusy ?? (isScheduled(this.outermost) ? 'skip' : 'throw');
  }

  /**
   * `ClassName.methodName` of the instance's own class, which may have inherited the method.
   */
  defaultKey(instance: object): string {
    if (instance.constructor.name === '')
      throw new LockError(`@Locked() on ${this.where} needs a key, since the class has no name.`);
    return this.#job(instance);
  }

  /**
   * The settings of the method: its own options, and the module's defaults for all options
   * that it does not give.
   */
  settingsFor(internals: LockInternals): LockSettings {
    const known = this.#settings.get(internals);
    if (known) return known;
    if (this.hasDefaultKey && internals.settings.requireKeys)
      throw new LockError(
        `@Locked() on ${this.where} has no key, and LockModule has the option requireKeys. Give it one: @Locked('…').`,
      );
    const settings = internals.settingsFor(`@Locked() on ${this.where}`, this.options);
    this.#settings.set(internals, settings);
    return settings;
  }

  /**
   * Says how often the method runs over all instances. The line that is logged at start shows
   * it.
   *
   * @param ticks whether the store keeps ticks
   */
  repetition(ticks: boolean): string | undefined {
    const { once } = this.options;
    if (once !== undefined && once !== 'tick' && once !== false) return 'once per slot';
    const kind = this.kind;
    if (!kind) return undefined;
    if (kind === 'timeout' || !ticks || once === false || this.#streams) return 'mutual exclusion';
    return kind === 'cron' ? 'once per tick' : 'once per interval';
  }

  /**
   * Whether each tick of the method's schedule runs once, provided that the store keeps ticks.
   */
  get hasTicks(): boolean {
    return ['once per tick', 'once per interval'].includes(this.repetition(true) ?? '');
  }

  /**
   * The kind of decorator that schedules the method. If the method has two `@Locked()`, only
   * the outer decorator counts as scheduled, and records the ticks.
   */
  get kind(): Firing['kind'] | undefined {
    return this.underOuterLocked ? undefined : kindOf(this.outermost);
  }

  /**
   * The key under which the store records the ticks of the method. It is the lock's key if
   * that is the default key, which no other method has; otherwise the name of the method is
   * added.
   */
  ticksOf(key: string, instance: object): string {
    return this.hasDefaultKey ? key : `${key}#${this.#job(instance)}`;
  }

  /** The key that all calls use; `undefined` if each call makes its key from its arguments. */
  keyOf(instance: object): string | undefined {
    const { key } = this.options;
    return typeof key === 'function' ? undefined : this.#keyFor(instance, []);
  }

  /** @throws LockError when the method has `once: 'tick'` without `@Cron()` */
  assertTicks(): void {
    if (this.options.once === 'tick' && !this.underOuterLocked && this.kind !== 'cron')
      throw new LockError(
        `${this.where} has the option once: 'tick', but is not under @Cron(). Give a length of time instead, such as once: '5m'.`,
      );
  }

  /**
   * Whether the method is an asynchronous generator. A call of it returns before the body
   * runs, so a tick would be recorded as done before the work has begun.
   */
  get #streams(): boolean {
    return Object.prototype.toString.call(this.original) === '[object AsyncGeneratorFunction]';
  }

  #wrap(property: symbol): LockedMethod['wrapper'] {
    const call = this.#call.bind(this);
    const makeKey = this.#keyFor.bind(this);
    const { where, original } = this;
    return function (this: unknown, ...args: unknown[]): unknown {
      const locks = serviceOf(this, property);
      if (!locks) return Promise.reject(notInjected(where));
      if (!locks.enabled) {
        const key = (): string => makeKey(this as object, args);
        return locks[INTERNALS].runUnlocked(key, () => original.apply(this, args));
      }
      return call(locks, this as object, args);
    };
  }

  async #call(locks: LockService, instance: object, args: unknown[]): Promise<unknown> {
    const internals = locks[INTERNALS];
    const schedule = Schedule.of(internals);
    let firing = schedule.firing(this.outermost); // known only until something is awaited
    if (!firing && this.kind === 'cron') firing = await schedule.firingWhileMade();
    const key = this.#keyFor(instance, args);
    const call = { key, settings: this.settingsFor(internals), job: this.#job(instance) };
    const once = firing && !this.#streams ? onceIn(firing, call.settings) : undefined;
    const run = (work: (lock: Lock) => unknown): Promise<TryRunResult<unknown>> =>
      once
        ? runScheduled(internals, { ...call, once }, this.ticksOf(key, instance), work)
        : internals.tryRun(call, work);
    let begun = false;
    try {
      const result = await runHandler(internals, call, run, () => {
        begun = true;
        return this.original.apply(instance, args);
      });
      if (result.acquired) return result.value;
      // The tick has run already, in another call.
      if (firing && result.error.reason === 'tick-done') return undefined;
      return this.#busy(result.error, args, firing);
    } catch (error) {
      // A call that was still waiting at the shutdown is skipped, as if the lock were busy:
      // other instances run the tick.
      if (!begun && locks.stopping && this.busyBehaviour === 'skip') return undefined;
      throw error;
    }
  }

  #job(instance: object): string {
    return `${instance.constructor.name}.${this.name}`;
  }

  /**
   * Returns the key of a call: the key in the options, or what its function makes of the
   * arguments, or the default key.
   */
  #keyFor(instance: object, args: unknown[]): string {
    const { key } = this.options;
    if (typeof key === 'string') return key;
    if (key === undefined) return this.defaultKey(instance);
    const made: unknown = key(...(args as never));
    // If the key function returned a promise, the key is refused below. A rejection of the
    // promise must not end the process.
    if (made instanceof Promise) made.catch(() => {});
    assertKeyOf(made, `The key function of @Locked() on ${this.where} returned no key.`);
    return made;
  }

  /**
   * Decides how a call ends that did not get the lock. By default it is skipped if the
   * scheduler called, even for jobs that were registered without a decorator.
   */
  #busy(error: LockNotAcquiredError, args: unknown[], firing: Firing | undefined): unknown {
    const { onBusy } = this.options;
    if (typeof onBusy === 'function') return onBusy(error, ...(args as never));
    const skip = this.busyBehaviour === 'skip' || (firing && onBusy === undefined);
    // A call inside a run that holds the same key can never get it. That is a mistake in the
    // code, so it is never skipped silently.
    if (skip && !error.nested) return undefined;
    throw error;
  }
}

function serviceOf(instance: unknown, property: symbol): LockService | undefined {
  return typeof instance === 'object' && instance !== null
    ? (instance as Record<symbol, LockService | undefined>)[property]
    : undefined;
}

function notInjected(where: string): LockError {
  return new LockError(
    `${where}() is under @Locked(), but its instance has no LockService: Nest did not create it, or the method was called without its instance. ` +
      'Get the provider from the container; in a unit test, use withoutLocks(instance) from "nestjs-locked/testing".',
  );
}

/**
 * Copies the name, the number of parameters and the metadata to the wrapper, since other
 * decorators and tools read them there.
 */
function copyIdentity(original: Function, wrapper: Function): void {
  for (const property of ['name', 'length'] as const) {
    Object.defineProperty(wrapper, property, { value: original[property], configurable: true });
  }
  for (const key of Reflect.getOwnMetadataKeys(original)) {
    Reflect.defineMetadata(key, Reflect.getOwnMetadata(key, original), wrapper);
  }
}

/** The methods of an object or a prototype, including inherited methods. */
export function* methodsOf(prototype: unknown): Iterable<[name: string | symbol, method: Function]> {
  const seen = new Set<string | symbol>(['constructor']);
  for (
    let level = prototype;
    typeof level === 'object' && level !== null && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const name of Reflect.ownKeys(level)) {
      if (seen.has(name)) continue;
      seen.add(name);
      const method: unknown = Object.getOwnPropertyDescriptor(level, name)?.value;
      if (typeof method === 'function') yield [name, method];
    }
  }
}
