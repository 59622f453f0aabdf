export { lockTableMigration } from './lock-table.migration.js';
export type { LockTableDatabase } from './lock-table.ddl.js';
export { TypeOrmLockStore } from './typeorm-lock.store.js';
export { typeOrmStore } from './typeorm-store.js';
export type { DataSourceHandle } from './data-source.handle.js';
export type {
  LockTableOptions,
  TypeOrmLockStoreOptions,
  TypeOrmStoreOptions,
} from './typeorm-store.options.js';
export { TypeOrmSessionLockStore } from '../typeorm-session/typeorm-session-lock.store.js';
export { typeOrmSessionStore } from '../typeorm-session/typeorm-session-store.js';
export type {
  TypeOrmSessionLockStoreOptions,
  TypeOrmSessionStoreOptions,
} from '../typeorm-session/session-store.options.js';
