import { Module, type DynamicModule } from '@nestjs/common';
import { LockModule, type LockModuleExtras } from '../lock.module.js';
import type { LockModuleDefaults } from '../options/lock.options.js';
import { MemoryLockStore } from '../stores/memory/memory-lock.store.js';
import { getTestLocksToken, TestLocks } from './test-locks.js';

/** Options of {@link LockTestingModule}: those of `LockModule`, without a store. @publicApi */
export type LockTestingOptions = LockModuleDefaults & LockModuleExtras;

/**
 * Replaces `LockModule` in tests. Its locks are real, but kept in memory, and its
 * {@link TestLocks} plays the other instances.
 *
 * @publicApi
 */
@Module({})
export class LockTestingModule {
  /** Registers the module, instead of `LockModule.forRoot()`. */
  static forRoot(options: LockTestingOptions = {}): DynamicModule {
    // `keepsOnce` allows the option `once`: the store remembers ticks while the test runs.
    const store = Object.assign(new MemoryLockStore(), { keepsOnce: true as const });
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
