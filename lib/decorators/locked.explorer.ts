import type { DiscoveryService } from '@nestjs/core';
import { LockedMethod } from './locked-method.js';
import { LockError } from '../lock.errors.js';
import { INTERNALS } from '../lock-internals.js';
import type { LockService } from '../lock.service.js';
import { lockServiceProperty } from '../lock.tokens.js';
import { isMinifiedName } from './minified-name.js';
import { isSchedulerOrchestrator, isSchedulerRegistry } from './scheduling/scheduler.js';

/**
 * Looks, at start, at every decorated method of the application that uses one module: two that would share a default key are refused, options that
 * do not fit the module's are too, and objects that were made by a factory get the service, since Nest injects no properties into them.
 */
export class LockedExplorer {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly locks: LockService,
    private readonly module: string,
  ) {}

  /**
   * Gives a function that names the locked methods for the line at start.
   *
   * @param ticks of that function: whether the store keeps ticks
   */
  explore(): (ticks: boolean) => string[] {
    const jobs = new Map<LockedMethod | string, [name: string, locked: LockedMethod]>();
    const classes = new Map<string, object>();
    const minified = new Set<string>();
    const minifiedTicks = new Set<string>();
    const scheduled = new Set<string>();
    for (const { instance, metatype } of [
      ...this.discovery.getProviders(),
      ...this.discovery.getControllers(),
    ]) {
      const prototype: unknown =
        (instance as object | undefined)?.constructor?.prototype ?? (metatype as Function | null)?.prototype;
      for (const locked of lockedMethodsOf(prototype)) {
        if (locked.module !== this.module) continue;
        locked.settingsFor(this.locks);
        locked.assertTicks();
        if (isObject(instance)) this.#inject(instance);
        const name = locked.hasDefaultKey ? locked.defaultKey(prototype as object) : locked.where;
        if (locked.hasDefaultKey) {
          claimKey(classes, name, prototype as object);
          if (isMinifiedName((prototype as object).constructor.name)) minified.add(name);
        } else if (locked.hasTicks && isMinifiedName((prototype as object).constructor.name)) {
          minifiedTicks.add(locked.defaultKey(prototype as object));
        }
        if (locked.kind) {
          scheduled.add(name);
          this.#schedule(locked, prototype as object);
        }
        jobs.set(locked.hasDefaultKey ? name : locked, [name, locked]);
      }
    }
    const { logger } = this.locks[INTERNALS];
    if (minified.size > 0) logger.minifiedKeys([...minified]);
    if (minifiedTicks.size > 0) logger.minifiedTicks([...minifiedTicks]);
    this.#followScheduler([...scheduled]);
    return (ticks) =>
      [...jobs.values()].map(([name, locked]) => {
        const often = locked.repetition(ticks);
        return `${name} (${locked.busyBehaviour}${often ? `, ${often}` : ''})`;
      });
  }

  #schedule(locked: LockedMethod, prototype: object): void {
    const key = locked.keyOf(prototype);
    this.locks[INTERNALS].schedule.add({
      method: locked.outermost,
      takes: (one) => key === undefined || key === one,
      ticksOf: (one) => locked.ticksOf(one, prototype),
    });
  }

  #followScheduler(scheduled: string[]): void {
    const providers = this.discovery.getProviders().map(({ instance }): unknown => instance);
    const found = new Set(providers.filter(isSchedulerRegistry));
    for (const registry of found) this.locks[INTERNALS].schedule.follow(registry);
    for (const one of new Set(providers.filter(isSchedulerOrchestrator)))
      this.locks[INTERNALS].schedule.read(one);
    const { logger, enabled } = this.locks[INTERNALS];
    if (scheduled.length === 0 || !enabled) return;
    if (found.size === 0) logger.noScheduler(scheduled);
    if (found.size > 1) logger.severalSchedulers(found.size);
  }

  /** A value may have been in an application before, which was closed since. */
  #inject(instance: object): void {
    const property = lockServiceProperty(this.module);
    const present = (instance as Record<symbol, LockService | undefined>)[property];
    if (!present || present.stopping)
      Object.defineProperty(instance, property, { value: this.locks, configurable: true });
  }
}

/** Classes are compared, not methods: two of one name may inherit the same method. */
function claimKey(classes: Map<string, object>, key: string, prototype: object): void {
  if ((classes.get(key) ?? prototype) !== prototype) {
    throw new LockError(
      `Two methods under @Locked() have the same default key "${key}": there are two classes of that name. Give one of them a key: @Locked('…').`,
    );
  }
  classes.set(key, prototype);
}

/** The decorated methods of an object or a prototype, also the inherited ones. */
export function* lockedMethodsOf(prototype: unknown): Iterable<LockedMethod> {
  const seen = new Set<string | symbol>();
  for (
    let level = prototype;
    isObject(level) && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const name of Reflect.ownKeys(level)) {
      if (seen.has(name)) continue;
      seen.add(name);
      const method: unknown = Object.getOwnPropertyDescriptor(level, name)?.value;
      const first = LockedMethod.of(method);
      for (let locked = first; locked; locked = locked.inner) {
        locked.outermost = method as Function;
        locked.nested = locked !== first;
        yield locked;
      }
    }
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
