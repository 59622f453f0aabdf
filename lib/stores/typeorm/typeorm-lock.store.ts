import type { DataSource, EntityManager } from 'typeorm';
import { assertKnownOptions } from '../../options/known-options.js';
import { createTable, type LockTableDatabase } from '../sql/lock-table.ddl.js';
import { SessionLockStore } from '../sql/sessions/session-lock.store.js';
import { readSessionOptions, type SessionStoreOptions } from '../sql/sessions/session-store.options.js';
import { SqlLockStore } from '../sql/sql-lock.store.js';
import {
  readStoreOptions,
  readTable,
  TABLE_OPTIONS,
  type LockTableOptions,
  type SqlStoreOptions,
} from '../sql/sql-store.options.js';
import { openerOf, type DataSourceHandle } from './data-source.handle.js';

/** Options of {@link TypeOrmLockStore}. @publicApi */
export interface TypeOrmLockStoreOptions extends SqlStoreOptions {}

/** Options of {@link TypeOrmSessionLockStore}. @publicApi */
export interface TypeOrmSessionLockStoreOptions extends SessionStoreOptions {}

/**
 * Keeps locks as rows of a table in PostgreSQL (12 or newer), MySQL (5.6), MariaDB (10.3) or
 * SQLite (3.35), through a TypeORM DataSource; see {@link SqlLockStore}.
 *
 * A DataSource that was handed in is never closed. The first operation opens the store if
 * `prepare` has not.
 *
 * @publicApi
 */
export class TypeOrmLockStore extends SqlLockStore<EntityManager> {
  /** @throws LockError for an option that does not exist or is not valid */
  constructor(dataSource: DataSource | DataSourceHandle, options: TypeOrmLockStoreOptions = {}) {
    const open = openerOf(dataSource, { store: 'TypeOrmLockStore', maker: 'typeOrmStore' });
    super(open, readStoreOptions('TypeOrmLockStore', options));
  }

  /**
   * The statement that creates the table, to run by hand; `lockTableMigration` runs the same.
   *
   * @throws LockError for a name that is not a plain identifier, or a database that has no
   * lock table
   */
  static ddl(type: LockTableDatabase, options: LockTableOptions = {}): string {
    assertKnownOptions('TypeOrmLockStore.ddl()', options, TABLE_OPTIONS);
    return createTable(type, readTable(options));
  }
}

/**
 * Keeps locks in connections: advisory locks of PostgreSQL (12 or newer), `GET_LOCK` of MySQL
 * (5.6) and MariaDB (10.3), through the options of a TypeORM DataSource; see
 * {@link SessionLockStore}.
 *
 * A DataSource that was handed in is never closed. The first operation opens the store if
 * `prepare` has not.
 *
 * @publicApi
 */
export class TypeOrmSessionLockStore extends SessionLockStore {
  /** @throws LockError for an option that does not exist or is not valid */
  constructor(dataSource: DataSource | DataSourceHandle, options: TypeOrmSessionLockStoreOptions = {}) {
    const open = openerOf(dataSource, { store: 'TypeOrmSessionLockStore', maker: 'typeOrmSessionStore' });
    super(open, readSessionOptions('TypeOrmSessionLockStore', options));
  }
}
