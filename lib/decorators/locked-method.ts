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
  /** The `@Locked()` below this decorator, if the method has several. */
  readonly inner: LockedMethod | undefined;
  /**
   * The function on the class. Other decorators may have wrapped the wrapper, and `@Cron()`
   * marks the outermost function.
   */
  outermost: Function;
  /**
   * Whether the method has another `@Locked()` above this decorator. The scheduler then calls
   * the function of that decorator.
   */
  underOuterLocked = false;
  readonly #settings = new WeakMap<LockInternals, LockSettings>();

  /** The `@Locked()` method behind this function, if it is one. */
  static of(method: unknown): LockedMethod | undefined {
    return typeof method === 'function' ? Reflect.getOwnMetadata(LOCKED_METHOD, method) : undefined;
  }

  constructor(
    /** `ClassName.methodName` of the class that declares it. */
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

  /** The name of the `LockModule` it uses. */
  get module(): string {
    return this.options.module ?? DEFAULT_MODULE;
  }

  /**
   * Whether the inner `@Locked()` takes the same lock, and so would wait for the lock of the
   * outer decorator.
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
   * What a call does when the lock is busy. It is found out at each call, since `@Cron()` may
   * be applied after `@Locked()`.
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

  /** The settings of the method: its options, and the module's defaults for the others. */
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
   * How often the method runs over all instances, for the line at start.
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

  /** Whether each tick of its schedule runs once, where the store keeps ticks. */
  get hasTicks(): boolean {
    return ['once per tick', 'once per interval'].includes(this.repetition(true) ?? '');
  }

  /**
   * The kind of decorator that schedules the method. Of two `@Locked()`, only the outer one
   * has the ticks.
   */
  get kind(): Firing['kind'] | undefined {
    return this.underOuterLocked ? undefined : kindOf(this.outermost);
  }

  /**
   * The key under which ticks are recorded: the key of the lock, if no other method has the
   * same key.
   */
  ticksOf(key: string, instance: object): string {
    return this.hasDefaultKey ? key : `${key}#${this.#job(instance)}`;
  }

  /** The key of all calls; `undefined` if it is made from the arguments of each call. */
  keyOf(instance: object): string | undefined {
    const { key } = this.options;
    return typeof key === 'function' ? undefined : this.#keyFor(instance, []);
  }

  /** @throws LockError when the method has `once: 'tick'` without `@Cron()` */
  assertTicks(): void {
    if (this.options.once === 'tick' && !this.underOuterLocked && this.kind !== 'cron')
      throw new LockError(
        `${this.where} has the option once: 'tick', but is not under @Cron(). For other methods, give slots: once: '5m'.`,
      );
  }

  /**
   * Whether the method is an asynchronous generator. It returns before its body runs, so its
   * tick would be recorded as done too early.
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
    let firing = schedule.firing(this.outermost); // before anything is awaited
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
      // Another call has run this tick.
      if (firing && result.error.reason === 'tick-done') return undefined;
      return this.#busy(result.error, args, firing);
    } catch (error) {
      // A call that waited during the shutdown is skipped, too: other instances run the tick.
      if (!begun && locks.stopping && this.busyBehaviour === 'skip') return undefined;
      throw error;
    }
  }

  #job(instance: object): string {
    return `${instance.constructor.name}.${this.name}`;
  }

  /** Decides the key of a call. */
  #keyFor(instance: object, args: unknown[]): string {
    const { key } = this.options;
    if (typeof key === 'string') return key;
    if (key === undefined) return this.defaultKey(instance);
    const made: unknown = key(...(args as never));
    if (made instanceof Promise) made.catch(() => {}); // it is no key, and refused
    assertKeyOf(made, `The key function of @Locked() on ${this.where} made no key.`);
    return made;
  }

  /**
   * Decides how a refused call ends. By default, calls by the scheduler are skipped, also
   * those of jobs that were registered without a decorator.
   */
  #busy(error: LockNotAcquiredError, args: unknown[], firing: Firing | undefined): unknown {
    const { onBusy } = this.options;
    if (typeof onBusy === 'function') return onBusy(error, ...(args as never));
    const skip = this.busyBehaviour === 'skip' || (firing && onBusy === undefined);
    // A nested call would never run. That is a mistake in the code, so it is not skipped.
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

/** Copies the name, the length and the metadata, which other decorators and tools read. */
function copyIdentity(original: Function, wrapper: Function): void {
  for (const property of ['name', 'length'] as const) {
    Object.defineProperty(wrapper, property, { value: original[property], configurable: true });
  }
  for (const key of Reflect.getOwnMetadataKeys(original)) {
    Reflect.defineMetadata(key, Reflect.getOwnMetadata(key, original), wrapper);
  }
}

/** The methods of an object or a prototype, also the inherited ones. */
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
