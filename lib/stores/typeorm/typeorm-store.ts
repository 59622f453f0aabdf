import { ModuleRef } from '@nestjs/core';
import type { LockStoreDefinition } from '../../interfaces/lock-store-definition.interface.js';
import { LockError } from '../../lock.errors.js';
import { assertKnownOptions } from '../../lock.settings.js';
import { applicationDataSource, ownDataSource } from './data-source.handle.js';
import { TypeOrmLockStore } from './typeorm-lock.store.js';
import { readStoreOptions, type TypeOrmStoreOptions } from './typeorm-store.options.js';

/**
 * Keeps locks in the application's own database, through the DataSource of `TypeOrmModule.forRoot()`; or, with `connection`, through one that
 * the store opens and closes.
 *
 * @throws LockError at once for an option that does not exist or is not valid
 * @publicApi
 */
export function typeOrmStore(options: TypeOrmStoreOptions = {}): LockStoreDefinition {
  assertKnownOptions('typeOrmStore()', options, [
    'dataSource',
    'connection',
    'table',
    'schema',
    'autoCreate',
  ]);
  const { dataSource, connection, ...storeOptions } = options;
  readStoreOptions(storeOptions);
  if (dataSource !== undefined && connection !== undefined)
    throw new LockError(
      "dataSource and connection exclude each other: either the application's DataSource by its name, or one of the store's own.",
    );
  if (dataSource !== undefined && typeof dataSource !== 'string')
    throw new LockError(
      'dataSource must be the name of a DataSource. A store on a DataSource object is made with new TypeOrmLockStore(dataSource).',
    );
  if (connection !== undefined && !hasType(connection))
    throw new LockError(
      "connection must be the options of a TypeORM DataSource, with a type: typeOrmStore({ connection: { type: 'postgres', url } }).",
    );
  return {
    inject: [ModuleRef],
    useFactory: (moduleRef: ModuleRef) =>
      new TypeOrmLockStore(
        connection ? ownDataSource(connection) : applicationDataSource(moduleRef, dataSource),
        storeOptions,
      ),
  };
}

function hasType(connection: unknown): boolean {
  return (
    typeof connection === 'object' &&
    connection !== null &&
    'type' in connection &&
    typeof connection.type === 'string'
  );
}
