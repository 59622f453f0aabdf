import { Module, type DynamicModule } from '@nestjs/common';
import { LockModule, type LockModuleExtras } from '../lock.module.js';
import type { LockModuleDefaults } from '../options/lock.options.js';
import { MemoryLockStore } from '../stores/memory/memory-lock.store.js';
import { getTestLocksToken, TestLocks } from './test-locks.js';

/** Options of {@link LockTestingModule}: those of `LockModule`, without a store. @publicApi */
export type LockTestingOptions = LockModuleDefaults & LockModuleExtras;

/**
 * Stands in for `LockModule` in tests: real locks, kept in memory, and a {@link TestLocks}
 * that plays the other instances.
 *
 * @publicApi
 */
@Module({})
export class LockTestingModule {
  /** Registers the module, in place of `LockModule.forRoot()`. */
  static forRoot(options: LockTestingOptions = {}): DynamicModule {
    const store = Object.assign(new MemoryLockStore(), { keepsOnce: true as const }); // as a database would, while the test runs
    const token = getTestLocksToken(options.name);
    const prefix = options.prefix === undefined ? '' : `${options.prefix}:`;
    return {
      module: LockTestingModule,
      global: options.isGlobal ?? true,
      imports: [LockModule.forRoot({ ...options, store })],
      providers: [{ provide: token, useValue: new TestLocks(store, prefix) }],
      exports: [token, LockModule],
    };
  }
}
