import { ModuleRef } from '@nestjs/core';
import type { LockStoreDefinition } from '../../interfaces/lock-store-definition.interface.js';
import { readDataSource } from '../executors/typeorm/data-source.handle.js';
import {
  readSessionOptions,
  STORE_OPTIONS,
  type TypeOrmSessionStoreOptions,
} from '../sql/sessions/session-store.options.js';
import { TypeOrmSessionLockStore } from '../sql/sessions/session-lock.store.js';
import { assertKnownOptions } from '../../options/known-options.js';

const SUPPORTED = ['postgres', 'mysql', 'mariadb'];

/**
 * Keeps locks in connections of the store's own to the application's database: advisory locks of PostgreSQL, `GET_LOCK` of MySQL and MariaDB. They last
 * as long as their connection, without ttl and renewal, and need no table.
 *
 * The options of `TypeOrmModule.forRoot()` say where the database is; or those in `connection`.
 *
 * @throws LockError at once for an option that does not exist or is not valid
 * @publicApi
 */
export function typeOrmSessionStore(options: TypeOrmSessionStoreOptions = {}): LockStoreDefinition {
  assertKnownOptions('typeOrmSessionStore()', options, ['dataSource', 'connection', ...STORE_OPTIONS]);
  const { dataSource, connection, ...storeOptions } = options;
  readSessionOptions(storeOptions);
  const handleOf = readDataSource(
    {
      name: 'typeOrmSessionStore',
      store: 'TypeOrmSessionLockStore',
      types: SUPPORTED,
      otherwise: 'Keep leases in a table instead, with typeOrmStore().',
    },
    { dataSource, connection },
  );
  return {
    inject: [ModuleRef],
    useFactory: (moduleRef: ModuleRef) => new TypeOrmSessionLockStore(handleOf(moduleRef), storeOptions),
  };
}
