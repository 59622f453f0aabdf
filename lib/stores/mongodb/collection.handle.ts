import type { ModuleRef } from '@nestjs/core';
import type { ClientSession, Db, MongoClient } from 'mongodb';
import type { Connection } from 'mongoose';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { loadPackage } from '../shared/opening.js';
import { inTime, OPERATION_LIMIT } from '../shared/operation-limit.js';
import { storeFailure } from './mongo-failure.js';
import type { AnyCollection } from './mongo-store.options.js';

/**
 * Opens a collection when the store needs it, and closes it when the store closes.
 *
 * @publicApi
 */
export interface CollectionHandle {
  /**
   * Returns a collection of a client that is connected, or that connects with its first
   * operation. The store does not call `open` before it opens.
   */
  open(): Promise<AnyCollection>;
  /**
   * Whether `open` would return this collection again. If the application has connected anew,
   * the result is `false`, and the store opens the collection again. Default: always `true`.
   */
  isCurrent?(collection: AnyCollection): boolean;
  /**
   * Closes everything that `open` has opened for this collection, but nothing that the
   * application made.
   */
  close(collection: AnyCollection): Promise<void>;
}

/** A handle for a collection that the application has made. */
export function handedIn(collection: AnyCollection): CollectionHandle {
  return { open: async () => collection, close: async () => undefined };
}

/** A handle for a collection of a client that the store opens and closes. */
export function ownCollection(
  url: string,
  databaseName: string | undefined,
  collectionName: string,
): CollectionHandle {
  return {
    async open() {
      const { MongoClient } = await loadPackage(
        'mongoStore({ url })',
        'mongodb',
        'mongodb',
        () => import('mongodb'),
      );
      const client = clientFor(url, MongoClient);
      try {
        await client.connect();
        return client.db(databaseName).collection(collectionName);
      } catch (error) {
        await close(client);
        throw storeFailure(error, 'open the lock store', describeServers(client));
      }
    },
    close: async (collection) => close(clientOf(collection)),
  };
}

/**
 * A handle for a collection of the connection that `MongooseModule.forRoot()` makes.
 * `connectionName` is the name that the application has given there.
 */
export function mongooseCollection(
  moduleRef: ModuleRef,
  connectionName: string | undefined,
  collectionName: string,
): CollectionHandle {
  const wanted = connectionName === undefined ? 'connection' : `connection "${connectionName}"`;
  let connection: Connection;
  return {
    async open() {
      const { getConnectionToken } = await loadPackage(
        'mongooseStore()',
        '@nestjs/mongoose',
        'mongoose @nestjs/mongoose',
        () => import('@nestjs/mongoose'),
      );
      try {
        connection = moduleRef.get(getConnectionToken(connectionName), { strict: false });
      } catch (error) {
        throw new LockError(
          `mongooseStore() found no Mongoose ${wanted} in the application. Import MongooseModule.forRoot(), give the name of another connection in the option ` +
            'connectionName, or let the store open its own client: mongoStore({ url }).',
          { cause: error },
        );
      }
      const db = await databaseOf(connection, wanted);
      return db.collection(collectionName);
    },
    // After close() and openUri(), a connection has another client, and perhaps another
    // database.
    isCurrent: (collection) =>
      clientOf(collection) === connection.getClient() && collection.dbName === connection.name,
    close: async () => undefined,
  };
}

/**
 * The client of a collection or session. All versions of the driver have this property, but
 * their types lack it.
 */
export function clientOf(owned: AnyCollection | ClientSession): MongoClient {
  return (owned as unknown as { client: MongoClient }).client;
}

/** Whether the value is a collection of the driver. A collection of Mongoose has no client. */
export function isCollection(value: unknown): value is AnyCollection {
  return (
    typeof value === 'object' &&
    value !== null &&
    'findOneAndUpdate' in value &&
    typeof clientOf(value as unknown as AnyCollection)?.db === 'function'
  );
}

/** Names the hosts and ports of the servers, for use in messages. Contains no secret. */
export function describeServers({ options }: MongoClient): string {
  const hosts = options.srvHost ?? options.hosts.map(String).join(',');
  return `MongoDB at ${hosts}`;
}

/** Drops the driver's error, which may repeat the connection string with its password. */
function clientFor(url: string, Client: typeof MongoClient): MongoClient {
  try {
    return new Client(url);
  } catch {
    throw new LockError(
      'The driver cannot read the url of mongoStore(). It must be a connection string such as mongodb://user:password@host:27017/database?replicaSet=rs0. Percent-encode special characters of user and password, and pass only options that the driver knows.',
    );
  }
}

/**
 * Closes the client, but gives up after a time limit: the driver waits for servers that no
 * longer answer, and a shutdown must not.
 */
async function close(client: MongoClient): Promise<void> {
  await inTime(client.close()).catch(() => undefined);
}

/** Waits until the connection is open. A lazy connection connects now. */
async function databaseOf(connection: Connection, wanted: string): Promise<Db> {
  const client = connection.getClient() as MongoClient | undefined;
  if (!client)
    throw new LockStoreError(
      `The application's Mongoose ${wanted} was never opened. Use locks from onModuleInit on, with MongooseModule.forRoot().`,
    );
  try {
    await inTime(connection.asPromise(), client.options.serverSelectionTimeoutMS + OPERATION_LIMIT);
    return connection.getClient().db(connection.name);
  } catch (error) {
    const target = `${describeServers(client)}, the application's Mongoose ${wanted},`;
    throw storeFailure(error, 'open the lock store', target);
  }
}
