import { ModuleRef } from '@nestjs/core';
import type { Db, MongoClient } from 'mongodb';
import type { LockStoreDefinition } from '../../interfaces/lock-store.interface.js';
import { LockError } from '../../lock.errors.js';
import {
  handedIn,
  isCollection,
  mongooseCollection,
  ownCollection,
  type CollectionHandle,
} from './collection.handle.js';
import { MongoLockStore } from './mongo-lock.store.js';
import {
  readCollectionName,
  readDatabaseName,
  readStoreOptions,
  STORE_OPTIONS,
  type MongooseStoreOptions,
  type MongoStoreOptions,
  type StoreSettings,
} from './mongo-store.options.js';
import { assertKnownOptions } from '../../options/known-options.js';

/**
 * Keeps locks in MongoDB, through a collection, a database or a client of the application,
 * which the store does not close. With a `url`, the store opens and closes a client of its
 * own.
 *
 * @throws LockError at once for an option that does not exist or is not valid
 * @publicApi
 */
export function mongoStore(options: MongoStoreOptions): LockStoreDefinition {
  assertKnownOptions('mongoStore()', options, [
    'url',
    'client',
    'db',
    'collection',
    'databaseName',
    'collectionName',
    ...STORE_OPTIONS,
  ]);
  const { url, client, db, collection, databaseName, collectionName, ...storeOptions } = options;
  const settings = readStoreOptions(storeOptions);
  const handle = handleOf({ url, client, db, collection, databaseName, collectionName }, settings);
  return { useFactory: () => new MongoLockStore(handle, storeOptions) };
}

/**
 * Keeps locks in the application's own database, through the connection of
 * `MongooseModule.forRoot()`, which the store does not close.
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

type Place = Pick<
  MongoStoreOptions,
  'url' | 'client' | 'db' | 'collection' | 'databaseName' | 'collectionName'
>;

/** Makes a handle for the first given option of `collection`, `db`, `client` and `url`. */
function handleOf(
  { url, client, db, collection, ...names }: Place,
  settings: StoreSettings,
): CollectionHandle {
  const databaseName = readDatabaseName(names.databaseName);
  const collectionName = readCollectionName(names.collectionName, settings);
  if (databaseName !== undefined && (collection !== undefined || db !== undefined))
    throw new LockError(
      `databaseName has no effect beside ${collection === undefined ? 'db' : 'collection'}, which already belongs to a database. Leave databaseName out.`,
    );
  if (names.collectionName !== undefined && collection !== undefined)
    throw new LockError(
      'collectionName has no effect beside collection, which already has a name. Leave collectionName out.',
    );

  if (collection !== undefined) {
    assertIs('collection', collection);
    return handedIn(collection);
  }
  if (db !== undefined) {
    assertIs('db', db);
    return handedIn(db.collection(collectionName));
  }
  if (client !== undefined) {
    assertIs('client', client);
    return handedIn(client.db(databaseName).collection(collectionName));
  }
  if (typeof url === 'string' && /^mongodb(?:\+srv)?:\/\//.test(url))
    return ownCollection(url, databaseName, collectionName);
  throw new LockError(
    `mongoStore() needs the option url, such as 'mongodb://…' (${url === undefined ? 'there is none' : 'the given url is no connection string'}), or a client, db or collection of the application. On a Mongoose connection, use mongooseStore().`,
  );
}

/** Refuses objects of Mongoose, which has its own collections, databases and clients. */
function assertIs(option: keyof typeof KINDS, value: unknown): void {
  if (typeof value === 'object' && value !== null && KINDS[option](value)) return;
  throw new LockError(
    `The option ${option} of mongoStore() must be a ${option} of the mongodb driver, but it is ${value === null ? 'null' : `something else, of type ${typeof value}`}. On a Mongoose connection, use mongooseStore().`,
  );
}

const KINDS = {
  collection: isCollection,
  db: ({ databaseName, collection }: Partial<Db>) =>
    typeof databaseName === 'string' && typeof collection === 'function',
  client: ({ db }: Partial<MongoClient>) => typeof db === 'function',
};
