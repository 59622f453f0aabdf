import type { DiscoveryService } from '@nestjs/core';
import { LockError } from '../lock.errors.js';
import { INTERNALS } from '../lock-internals.js';
import type { LockService } from '../lock.service.js';
import { lockServiceProperty } from '../lock.tokens.js';
import { LockedMethod, methodsOf } from './locked-method.js';
import { Schedule } from './scheduling/schedule.js';

/**
 * Class names that differ from build to build, since a minifier or a compiler made them: `o`,
 * `t1` and `_a`, three characters that do not begin like a class (`e3f`), and `class_1`,
 * `_class2`, `default_1`.
 */
const MINIFIED = /^(?:[\w$]{1,2}|[a-z_$][\w$]{2}|_?(?:class|default|anonymous)_?\d*)$/;

/**
 * Checks, at start, all methods under `@Locked()` that use one module. It refuses two methods
 * that would share a default key, and options that do not fit those of the module. It also
 * gives the LockService to objects that a factory made, since Nest injects no properties
 * there.
 */
export class LockedExplorer {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly locks: LockService,
    private readonly module: string,
  ) {}

  /**
   * Checks all methods, and finds the schedulers that call them.
   *
   * @returns a function that describes each method for the line that is logged at start. Its
   * parameter says whether the store keeps ticks
   */
  explore(): (ticks: boolean) => string[] {
    const internals = this.locks[INTERNALS];
    const { logger } = internals;
    const schedule = Schedule.of(internals);
    const jobs = new Map<LockedMethod | string, [name: string, locked: LockedMethod]>();
    const classes = new Map<string, object>();
    const [scheduled, minified, minifiedTicks] = [new Set<string>(), new Set<string>(), new Set<string>()];
    for (const [locked, prototype] of this.#lockedMethods()) {
      locked.settingsFor(internals);
      locked.assertTicks();
      const { hasDefaultKey } = locked;
      const name = hasDefaultKey ? locked.defaultKey(prototype) : locked.where;
      if (hasDefaultKey) assertSoleClass(classes, name, prototype);
      if (MINIFIED.test(prototype.constructor.name)) {
        if (hasDefaultKey) minified.add(name);
        else if (locked.hasTicks) minifiedTicks.add(locked.defaultKey(prototype));
      }
      if (locked.kind) {
        scheduled.add(name);
        schedule.add({
          method: locked.outermost,
          key: locked.keyOf(prototype),
          ticksOf: (key) => locked.ticksOf(key, prototype),
        });
      }
      jobs.set(hasDefaultKey ? name : locked, [name, locked]);
    }
    if (minified.size > 0) logger.warn('minifiedKeys', [...minified]);
    if (minifiedTicks.size > 0) logger.warn('minifiedTicks', [...minifiedTicks]);
    const schedulers = schedule.follow(
      this.discovery.getProviders().map(({ instance }): unknown => instance),
    );
    if (internals.enabled && scheduled.size > 0) {
      if (schedulers === 0) logger.warn('noScheduler', [...scheduled]);
      if (schedulers > 1) logger.warn('severalSchedulers', schedulers);
    }
    internals.addTicks = (found, inspect) => schedule.addTicks(found, inspect, internals.clock.date());
    return (ticks) =>
      [...jobs.values()].map(([name, locked]) => {
        const often = locked.repetition(ticks);
        return `${name} (${locked.busyBehaviour}${often ? `, ${often}` : ''})`;
      });
  }

  *#lockedMethods(): Iterable<[locked: LockedMethod, prototype: object]> {
    for (const { instance, metatype } of [
      ...this.discovery.getProviders(),
      ...this.discovery.getControllers(),
    ]) {
      const made = instance as object | undefined;
      const prototype: unknown = made?.constructor?.prototype ?? (metatype as Function | null)?.prototype;
      for (const locked of lockedMethodsOf(prototype)) {
        if (locked.module !== this.module) continue;
        if (typeof made === 'object' && made !== null) this.#inject(made);
        yield [locked, prototype as object];
      }
    }
  }

  /**
   * Gives a LockService to an object. An object that `useValue` provides may have the service
   * of an earlier application, which was closed; that service is replaced.
   */
  #inject(instance: object): void {
    const property = lockServiceProperty(this.module);
    const present = (instance as Record<symbol, LockService | undefined>)[property];
    if (!present || present.stopping)
      Object.defineProperty(instance, property, { value: this.locks, configurable: true });
  }
}

/**
 * Refuses a default key that belongs to two classes of the same name. It compares the classes
 * and not the methods, since both classes may inherit the same method.
 */
function assertSoleClass(classes: Map<string, object>, key: string, prototype: object): void {
  if ((classes.get(key) ?? prototype) !== prototype)
    throw new LockError(
      `Two methods under @Locked() have the same default key "${key}", because two classes have the same name. Give one of the methods a key: @Locked('…').`,
    );
  classes.set(key, prototype);
}

/** The methods under `@Locked()` of an object or a prototype, including inherited methods. */
export function* lockedMethodsOf(prototype: unknown): Iterable<LockedMethod> {
  for (const [, method] of methodsOf(prototype)) {
    const first = LockedMethod.of(method);
    for (let locked = first; locked; locked = locked.inner) {
      locked.outermost = method;
      locked.underOuterLocked = locked !== first;
      yield locked;
    }
  }
}
