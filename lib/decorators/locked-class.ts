import { isScheduled } from './scheduling/scheduler.js';

/** What `@Locked()` on a class locks, by name: the methods that the scheduler calls, also inherited ones, or else the command. */
export function methodsToLock(prototype: object): [name: string, method: Function][] {
  const methods = [...methodsOf(prototype)];
  const scheduled = methods.filter(([, method]) => isScheduled(method));
  return scheduled.length > 0 ? scheduled : methods.filter(([name]) => name === 'run');
}

function* methodsOf(prototype: object): Iterable<[name: string, method: Function]> {
  const seen = new Set<string>(['constructor']);
  for (
    let level: object | null = prototype;
    level && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(level))) {
      if (seen.has(name)) continue;
      seen.add(name);
      if (typeof value === 'function') yield [name, value];
    }
  }
}
