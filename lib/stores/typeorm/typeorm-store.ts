import { ModuleRef } from '@nestjs/core';
import type { LockStoreDefinition } from '../../interfaces/lock-store.interface.js';
import { assertKnownOptions } from '../../options/known-options.js';
import { readSessionOptions, SESSION_OPTIONS } from '../sql/sessions/session-store.options.js';
import { readStoreOptions, STORE_OPTIONS } from '../sql/sql-store.options.js';
import { readDataSource, type DataSourceChoice } from './data-source.handle.js';
import {
  TypeOrmLockStore,
  TypeOrmSessionLockStore,
  type TypeOrmLockStoreOptions,
  type TypeOrmSessionLockStoreOptions,
} from './typeorm-lock.store.js';

/**
 * Options of {@link typeOrmStore}: the name of the application's `dataSource`, or the options
 * of a `connection` that the store opens.
 *
 * @publicApi
 */
export type TypeOrmStoreOptions = TypeOrmLockStoreOptions & DataSourceChoice;

/**
 * Options of {@link typeOrmSessionStore}: the name of the application's `dataSource`, or the
 * options of a `connection` that the store opens.
 *
 * @publicApi
 */
export type TypeOrmSessionStoreOptions = TypeOrmSessionLockStoreOptions & DataSourceChoice;

/**
 * Keeps locks in the application's own database, through the DataSource of
 * `TypeOrmModule.forRoot()`. With `connection`, the store opens and closes a DataSource of its
 * own.
 *
 * @throws LockError at once for an option that does not exist or is not valid
 *
 * @publicApi
 */
export function typeOrmStore(options: TypeOrmStoreOptions = {}): LockStoreDefinition {
  assertKnownOptions('typeOrmStore()', options, ['dataSource', 'connection', ...STORE_OPTIONS]);
  const { dataSource, connection, ...storeOptions } = options;
  readStoreOptions('TypeOrmLockStore', storeOptions);
  const handleOf = readDataSource(
    {
      name: 'typeOrmStore',
      store: 'TypeOrmLockStore',
      types: ['postgres', 'mysql', 'mariadb', 'better-sqlite3'],
    },
    { dataSource, connection },
  );
  return {
    inject: [ModuleRef],
    useFactory: (moduleRef: ModuleRef) => new TypeOrmLockStore(handleOf(moduleRef), storeOptions),
  };
}

/**
 * Keeps locks in connections that the store opens to the application's database: advisory
 * locks of PostgreSQL, `GET_LOCK` of MySQL and MariaDB. A lock lasts as long as its
 * connection, without ttl and renewal, and needs no table.
 *
 * The address of the database comes from the options of `TypeOrmModule.forRoot()`, or from
 * `connection`.
 *
 * @throws LockError at once for an option that does not exist or is not valid
 *
 * @publicApi
 */
export function typeOrmSessionStore(options: TypeOrmSessionStoreOptions = {}): LockStoreDefinition {
  assertKnownOptions('typeOrmSessionStore()', options, ['dataSource', 'connection', ...SESSION_OPTIONS]);
  const { dataSource, connection, ...storeOptions } = options;
  readSessionOptions('TypeOrmSessionLockStore', storeOptions);
  const handleOf = readDataSource(
    {
      name: 'typeOrmSessionStore',
      store: 'TypeOrmSessionLockStore',
      types: ['postgres', 'mysql', 'mariadb'],
      otherwise: 'Keep leases in a table instead, with typeOrmStore().',
    },
    { dataSource, connection },
  );
  return {
    inject: [ModuleRef],
    useFactory: (moduleRef: ModuleRef) => new TypeOrmSessionLockStore(handleOf(moduleRef), storeOptions),
  };
}
