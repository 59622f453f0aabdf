import type { DataSource, EntityManager } from 'typeorm';
import { SessionLockStore } from '../sql/sessions/session-lock.store.js';
import type { SessionStoreOptions } from '../sql/sessions/session-store.options.js';
import { SqlLockStore } from '../sql/sql-lock.store.js';
import type { SqlStoreOptions } from '../sql/sql-store.options.js';
import { openerOf, type DataSourceHandle } from './data-source.handle.js';

/** Options of {@link TypeOrmLockStore}. @publicApi */
export interface TypeOrmLockStoreOptions extends SqlStoreOptions {}

/** Options of {@link TypeOrmSessionLockStore}. @publicApi */
export interface TypeOrmSessionLockStoreOptions extends SessionStoreOptions {}

/**
 * Keeps locks as rows of a table in PostgreSQL (12 or newer), MySQL (5.6), MariaDB (10.3) or
 * SQLite (3.35), through a TypeORM DataSource; see {@link SqlLockStore}.
 *
 * The store never closes a DataSource that the application passes. The first operation opens
 * the store if `prepare` has not.
 *
 * @publicApi
 */
export class TypeOrmLockStore extends SqlLockStore<EntityManager> {
  /** @throws LockError for an option that does not exist or is not valid */
  constructor(dataSource: DataSource | DataSourceHandle, options: TypeOrmLockStoreOptions = {}) {
    const open = openerOf(dataSource, { store: 'TypeOrmLockStore', maker: 'typeOrmStore' });
    super(open, options);
  }
}

/**
 * Keeps locks in connections: advisory locks of PostgreSQL (12 or newer), `GET_LOCK` of MySQL
 * (5.6) and MariaDB (10.3), through the options of a TypeORM DataSource; see
 * {@link SessionLockStore}.
 *
 * The store never closes a DataSource that the application passes. The first operation opens
 * the store if `prepare` has not.
 *
 * @publicApi
 */
export class TypeOrmSessionLockStore extends SessionLockStore {
  /** @throws LockError for an option that does not exist or is not valid */
  constructor(dataSource: DataSource | DataSourceHandle, options: TypeOrmSessionLockStoreOptions = {}) {
    const open = openerOf(dataSource, { store: 'TypeOrmSessionLockStore', maker: 'typeOrmSessionStore' });
    super(open, options);
  }
}
