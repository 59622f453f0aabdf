import { LockError } from '../lock.errors.js';
import { LockService } from '../lock.service.js';
import { lockServiceProperty } from '../lock.tokens.js';
import { lockedMethodsOf } from '../decorators/locked.explorer.js';

/**
 * Lets the `@Locked()` methods of an object run without locks. Use it in a unit test that
 * makes the object with `new`.
 *
 * @returns the same object
 * @throws LockError when the object has no method under `@Locked()`
 * @publicApi
 */
export function withoutLocks<T extends object>(instance: T): T {
  const modules = new Set([...lockedMethodsOf(instance)].map(({ module }) => module));
  if (modules.size === 0) {
    throw new LockError(
      `withoutLocks() was given a ${instance.constructor.name}, which has no method under @Locked().`,
    );
  }
  for (const module of modules)
    Object.defineProperty(instance, lockServiceProperty(module), { value: disabledService() });
  return instance;
}

function disabledService(): LockService {
  return new LockService({
    options: { enabled: false },
    openStore: () => {
      throw new LockError('An object given to withoutLocks() has no lock store.');
    },
  });
}
