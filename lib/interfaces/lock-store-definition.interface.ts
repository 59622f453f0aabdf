import type { InjectionToken } from '@nestjs/common';
import type { LockStore } from './lock-store.interface.js';

/**
 * How the container makes a store, as `typeOrmStore()` and `memoryStore()` return it.
 *
 * @publicApi
 */
export interface LockStoreDefinition {
  /** What `useFactory` gets, in this order. */
  inject?: InjectionToken[] | undefined;
  useFactory(...dependencies: unknown[]): LockStore | Promise<LockStore>;
}
