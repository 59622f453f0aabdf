export { lockTableMigration } from './lock-table.migration.js';
export type { LockTableDatabase } from '../sql/lock-table.ddl.js';
export type { LockTableOptions } from '../sql/sql-store.options.js';
export { TypeOrmLockStore, TypeOrmSessionLockStore } from './typeorm-lock.store.js';
export type { TypeOrmLockStoreOptions, TypeOrmSessionLockStoreOptions } from './typeorm-lock.store.js';
export { typeOrmSessionStore, typeOrmStore } from './typeorm-store.js';
export type { TypeOrmSessionStoreOptions, TypeOrmStoreOptions } from './typeorm-store.js';
export type { DataSourceHandle } from './data-source.handle.js';
