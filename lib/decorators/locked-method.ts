import { LockError, type LockNotAcquiredError } from '../lock.errors.js';
import type { LockSettings } from '../lock.settings.js';
import type { LockService } from '../lock.service.js';
import { DEFAULT_MODULE, lockServiceProperty } from '../lock.tokens.js';
import { runHandler } from '../run-handler.js';
import { isCron, type CronTicks } from '../scheduling/cron-ticks.js';
import { assertKeyOf, type LockedOptions } from './locked.options.js';

const LOCKED_METHOD = Symbol('nestjs-locked: method');

/** What `@nestjs/schedule` marks the methods with that it calls. */
const SCHEDULER_TYPE = 'SCHEDULER_TYPE';

/** Whether the scheduler calls the method. */
export function isScheduled(method: Function): boolean {
  return Reflect.hasMetadata(SCHEDULER_TYPE, method);
}

/** A method under `@Locked()`: what was asked for, and the function that stands in its place. */
export class LockedMethod {
  readonly wrapper: (this: unknown, ...args: unknown[]) => unknown;
  /** The next one, where the method is under `@Locked()` more than once. */
  readonly inner: LockedMethod | undefined;
  /** The function on the class: other decorators may have put theirs around the wrapper, and `@Cron` marks the outermost. */
  outermost: Function;
  readonly #settings = new WeakMap<LockService, LockSettings>();
  readonly #ticks = new WeakMap<LockService, CronTicks>();

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

  /** Whether the next one takes the same lock, which this one then holds. */
  get waitsForItself(): boolean {
    const { key } = this.options;
    if (this.inner?.options.reentrant) return false;
    return this.inner?.module === this.module && this.inner.options.key === key && typeof key !== 'function';
  }

  get hasDefaultKey(): boolean {
    return this.options.key === undefined;
  }

  /** Read late, since `@Cron` may stand above `@Locked()`. */
  get busyBehaviour(): 'skip' | 'throw' | 'callback' {
    const { onBusy } = this.options;
    if (typeof onBusy === 'function') return 'callback';
    return onBusy ?? (isScheduled(this.outermost) ? 'skip' : 'throw');
  }

  /** `ClassName.methodName` of the class that the instance has, which may have inherited the method. */
  defaultKey(instance: object): string {
    if (instance.constructor.name === '')
      throw new LockError(`@Locked() on ${this.where} needs a key, since the class has no name.`);
    return this.#job(instance);
  }

  /** The options over the defaults of the module, read once for each. */
  settingsFor(locks: LockService): LockSettings {
    const known = this.#settings.get(locks);
    if (known) return known;
    if (this.hasDefaultKey && locks.requireKeys)
      throw new LockError(
        `@Locked() on ${this.where} has no key, and LockModule has the option requireKeys. Give it one: @Locked('…').`,
      );
    const settings = locks.settingsFor(`@Locked() on ${this.where}`, this.options);
    this.#settings.set(locks, settings);
    return settings;
  }

  /** Whether it runs once in each tick, or slot. */
  get once(): 'tick' | 'slot' | undefined {
    const { once } = this.options;
    return once === undefined || once === 'tick' ? once : 'slot';
  }

  /** The key, unless it is made from the call's arguments. */
  keyOf(instance: object): string | undefined {
    const { key } = this.options;
    return typeof key === 'function' ? undefined : (key ?? this.defaultKey(instance));
  }

  /**
   * Tells where it finds the ticks of an application.
   *
   * @throws LockError when it has none
   */
  countBy(locks: LockService, ticks: CronTicks): void {
    if (!isCron(this.outermost))
      throw new LockError(
        `${this.where} has the option once: 'tick', but is not under @Cron(). For other methods, give slots: once: '5m'.`,
      );
    this.#ticks.set(locks, ticks);
  }

  /** How many ticks have gone by since the tick `last`, until `now`. */
  async missed(locks: LockService, last: number, now: number): Promise<number> {
    return this.#ticksOf(locks).missed(this.outermost, this.where, last, now);
  }

  #ticksOf(locks: LockService): CronTicks {
    const ticks = this.#ticks.get(locks);
    if (ticks) return ticks;
    throw new LockError(
      `${this.where} has the option once: 'tick', but was not there when the application started.`,
    );
  }

  #wrap(property: symbol): LockedMethod['wrapper'] {
    const call = this.#call.bind(this);
    const withoutLock = this.#callWithoutLock.bind(this);
    const { where } = this;
    return function (this: unknown, ...args: unknown[]): unknown {
      const locks = serviceOf(this, property);
      if (!locks) return Promise.reject(notInjected(where));
      if (!locks.enabled) return withoutLock(locks, this as object, args);
      return call(locks, this as object, args);
    };
  }

  /** While locking is disabled. The key matters also then: fencing tokens grow for each key. */
  #callWithoutLock(locks: LockService, instance: object, args: unknown[]): unknown {
    let key: string;
    try {
      this.settingsFor(locks); // which may not allow a default key
      key = this.#key(instance, args);
    } catch (error) {
      return Promise.reject(error); // as while locking is enabled
    }
    return locks.runUnlocked(key, () => this.original.apply(instance, args));
  }

  async #call(locks: LockService, instance: object, args: unknown[]): Promise<unknown> {
    const call = {
      key: this.#key(instance, args),
      settings: this.settingsFor(locks),
      job: this.#job(instance),
      tick: this.once === 'tick' ? await this.#tick(locks) : undefined,
    };
    let begun = false;
    try {
      const result = await runHandler(locks, call, () => {
        begun = true;
        return this.original.apply(instance, args);
      });
      return result.acquired ? result.value : this.#busy(result.error, args);
    } catch (error) {
      // Also for one that was waiting: the other instances have their own ticks.
      if (!begun && locks.stopping && this.busyBehaviour === 'skip') return undefined;
      throw error;
    }
  }

  async #tick(locks: LockService): Promise<number> {
    const now = locks.date();
    await Promise.resolve(); // a job that is late when the scheduler makes it is called before the scheduler has put it on its list
    return this.#ticksOf(locks).current(this.outermost, this.where, now);
  }

  #job(instance: object): string {
    return `${instance.constructor.name}.${this.name}`;
  }

  #key(instance: object, args: unknown[]): string {
    const { key } = this.options;
    if (typeof key === 'string') return key;
    if (key === undefined) return this.defaultKey(instance);
    const made: unknown = key(...(args as never));
    if (made instanceof Promise) made.catch(() => {}); // it is refused, however it ends
    assertKeyOf(made, `The key function of @Locked() on ${this.where} made no key.`);
    return made;
  }

  #busy(error: LockNotAcquiredError, args: unknown[]): unknown {
    const { onBusy } = this.options;
    if (typeof onBusy === 'function') return onBusy(error, ...(args as never));
    // Inside a run that holds the key, no call would ever run: that is a mistake, and no busy lock.
    if (this.busyBehaviour === 'skip' && !error.nested) return undefined;
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
    `${where}() is under @Locked(), but its object was not made by Nest's container, or was called without it. ` +
      'Get the provider from the container; in a unit test, use withoutLocks(instance) from "nestjs-locked/testing".',
  );
}

/** Other decorators, and the tools that read them, must not notice the difference. */
function copyIdentity(original: Function, wrapper: Function): void {
  for (const property of ['name', 'length'] as const) {
    Object.defineProperty(wrapper, property, { value: original[property], configurable: true });
  }
  for (const key of Reflect.getOwnMetadataKeys(original)) {
    Reflect.defineMetadata(key, Reflect.getOwnMetadata(key, original), wrapper);
  }
}
