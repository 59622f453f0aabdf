import { ModuleRef } from '@nestjs/core';
import type { LockStoreDefinition } from '../../interfaces/lock-store-definition.interface.js';
import { LockError } from '../../lock.errors.js';
import { mongooseCollection } from './collection.handle.js';
import { MongoLockStore } from './mongo-lock.store.js';
import {
  readCollectionName,
  readStoreOptions,
  STORE_OPTIONS,
  type MongooseStoreOptions,
} from './mongo-store.options.js';
import { assertKnownOptions } from '../../options/known-options.js';

/**
 * Keeps locks in the application's own database, through the connection of `MongooseModule.forRoot()`, which stays open.
 *
 * @throws LockError at once for an option that does not exist or is not valid
 * @publicApi
 */
export function mongooseStore(options: MongooseStoreOptions = {}): LockStoreDefinition {
  assertKnownOptions('mongooseStore()', options, ['connectionName', 'collectionName', ...STORE_OPTIONS]);
  const { connectionName, collectionName, ...storeOptions } = options;
  const name = readCollectionName(collectionName, readStoreOptions(storeOptions));
  if (connectionName !== undefined && typeof connectionName !== 'string')
    throw new LockError(
      'connectionName must be the name of a Mongoose connection, as given to MongooseModule.forRoot(uri, { connectionName }).',
    );
  return {
    inject: [ModuleRef],
    useFactory: (moduleRef: ModuleRef) =>
      new MongoLockStore(mongooseCollection(moduleRef, connectionName, name), storeOptions),
  };
}
