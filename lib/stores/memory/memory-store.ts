import type { LockStoreDefinition } from '../../interfaces/lock-store.interface.js';
import { LockError } from '../../lock.errors.js';
import { MemoryLockStore } from './memory-lock.store.js';
import { assertKnownOptions } from '../../options/known-options.js';

/** Options of {@link memoryStore}. @publicApi */
export interface MemoryStoreOptions {
  /**
   * Allows the store when `NODE_ENV` is `production`. This is right only for an application
   * that runs as one process. Default `false`.
   */
  allowInProduction?: boolean | undefined;
}

/**
 * Keeps locks in the memory of this process: for development and tests.
 *
 * @throws LockError at start when `NODE_ENV` is `production`, unless `allowInProduction` is
 * true
 * @publicApi
 */
export function memoryStore(options: MemoryStoreOptions = {}): LockStoreDefinition {
  assertKnownOptions('memoryStore()', options, ['allowInProduction']);
  return {
    useFactory: () => {
      if (process.env.NODE_ENV === 'production' && options.allowInProduction !== true) {
        throw new LockError(
          'memoryStore() is refused when NODE_ENV is "production": each process would have its own locks, and two instances ' +
            'of the application would run the same job. Use typeOrmStore() (PostgreSQL, MySQL, MariaDB, SQLite) or mongoStore(); or, if there ' +
            'is only ever one process, memoryStore({ allowInProduction: true }).',
        );
      }
      return new MemoryLockStore();
    },
  };
}
