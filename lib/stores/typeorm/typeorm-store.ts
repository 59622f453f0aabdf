import { ModuleRef } from '@nestjs/core';
import type { LockStoreDefinition } from '../../interfaces/lock-store-definition.interface.js';
import { readDataSource } from '../executors/typeorm/data-source.handle.js';
import { TypeOrmLockStore } from '../sql/sql-lock.store.js';
import { readStoreOptions, STORE_OPTIONS, type TypeOrmStoreOptions } from './typeorm-store.options.js';
import { assertKnownOptions } from '../../options/known-options.js';

const SUPPORTED = ['postgres', 'mysql', 'mariadb', 'better-sqlite3'];

/**
 * Keeps locks in the application's own database, through the DataSource of `TypeOrmModule.forRoot()`; or, with `connection`, through one that
 * the store opens and closes.
 *
 * @throws LockError at once for an option that does not exist or is not valid
 * @publicApi
 */
export function typeOrmStore(options: TypeOrmStoreOptions = {}): LockStoreDefinition {
  assertKnownOptions('typeOrmStore()', options, ['dataSource', 'connection', ...STORE_OPTIONS]);
  const { dataSource, connection, ...storeOptions } = options;
  readStoreOptions(storeOptions);
  const handleOf = readDataSource(
    { name: 'typeOrmStore', store: 'TypeOrmLockStore', types: SUPPORTED },
    { dataSource, connection },
  );
  return {
    inject: [ModuleRef],
    useFactory: (moduleRef: ModuleRef) => new TypeOrmLockStore(handleOf(moduleRef), storeOptions),
  };
}
