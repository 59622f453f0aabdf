export { lockTableMigration } from './lock-table.migration.js';
export type { LockTableDatabase } from '../sql/lock-table.ddl.js';
export { TypeOrmLockStore } from '../sql/sql-lock.store.js';
export { typeOrmStore } from './typeorm-store.js';
export type { DataSourceHandle } from '../executors/typeorm/data-source.handle.js';
export type {
  LockTableOptions,
  TypeOrmLockStoreOptions,
  TypeOrmStoreOptions,
} from './typeorm-store.options.js';
export { TypeOrmSessionLockStore } from '../sql/sessions/session-lock.store.js';
export { typeOrmSessionStore } from './typeorm-session-store.js';
export type {
  TypeOrmSessionLockStoreOptions,
  TypeOrmSessionStoreOptions,
} from '../sql/sessions/session-store.options.js';
