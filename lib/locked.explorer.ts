import type { DiscoveryService } from '@nestjs/core';
import { LockedMethod } from './decorators/locked-method.js';
import { LockError } from './lock.errors.js';
import type { LockService } from './lock.service.js';
import { lockServiceProperty } from './lock.tokens.js';
import { isMadeUp } from './made-up-name.js';
import { CronTicks } from './scheduling/cron-ticks.js';

/**
 * Looks, at start, at every decorated method of the application that uses one module: two that would share a default key are refused, options that
 * do not fit the module's are too, and objects that were made by a factory get the service, since Nest injects no properties into them.
 */
export class LockedExplorer {
  readonly #ticks: CronTicks;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly locks: LockService,
    private readonly module: string,
  ) {
    this.#ticks = new CronTicks(discovery);
  }

  /** Names the locked methods, for the line at start. */
  explore(): string[] {
    const jobs = new Map<LockedMethod | string, string>();
    const classes = new Map<string, object>();
    const madeUp = new Set<string>();
    const ticking = new Map<string, { locked: LockedMethod; prototype: object }>();
    for (const { instance, metatype } of [
      ...this.discovery.getProviders(),
      ...this.discovery.getControllers(),
    ]) {
      const prototype: unknown =
        (instance as object | undefined)?.constructor?.prototype ?? (metatype as Function | null)?.prototype;
      for (const locked of lockedMethodsOf(prototype)) {
        if (locked.module !== this.module) continue;
        locked.settingsFor(this.locks);
        if (isObject(instance)) this.#inject(instance);
        const name = locked.hasDefaultKey ? locked.defaultKey(prototype as object) : locked.where;
        if (locked.hasDefaultKey) {
          claimKey(classes, name, prototype as object);
          if (isMadeUp((prototype as object).constructor.name)) madeUp.add(name);
        }
        if (locked.once === 'tick') {
          this.#schedule(locked, prototype as object);
          claimTicks(ticking, locked, prototype as object);
        }
        const once = locked.once && `, once per ${locked.once}`;
        jobs.set(locked.hasDefaultKey ? name : locked, `${name} (${locked.busyBehaviour}${once ?? ''})`);
      }
    }
    this.locks.warnOfNames([...madeUp]);
    return [...jobs.values()];
  }

  #schedule(locked: LockedMethod, prototype: object): void {
    locked.countBy(this.locks, this.#ticks);
    const key = locked.keyOf(prototype);
    if (key !== undefined) this.locks.countMissed(key, (last, now) => locked.missed(this.locks, last, now));
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

/** A tick that one of them has run would be none for the other. */
function claimTicks(
  ticking: Map<string, { locked: LockedMethod; prototype: object }>,
  locked: LockedMethod,
  prototype: object,
): void {
  const key = locked.keyOf(prototype);
  if (key === undefined) return;
  const other = ticking.get(key);
  if (other && (other.locked !== locked || other.prototype !== prototype))
    throw new LockError(
      `${other.locked.where} and ${locked.where} have the option once: 'tick' and one key, "${key}": when one of them has run, the same tick of the other would be skipped. Give each a key of its own.`,
    );
  ticking.set(key, { locked, prototype });
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
      for (let locked = LockedMethod.of(method); locked; locked = locked.inner) {
        locked.outermost = method as Function;
        yield locked;
      }
    }
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
