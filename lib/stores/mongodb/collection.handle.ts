import type { ModuleRef } from '@nestjs/core';
import type { ClientSession, Db, MongoClient } from 'mongodb';
import type { Connection } from 'mongoose';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { loadPackage } from '../shared/opening.js';
import { inTime, OPERATION_LIMIT } from '../shared/operation-limit.js';
import { storeFailure } from './mongo-failure.js';
import type { AnyCollection } from './mongo-store.options.js';

/**
 * A collection that a store opens when it needs it, and closes in the end.
 *
 * @publicApi
 */
export interface CollectionHandle {
  /**
   * Gives a collection of a client that connects. The store calls this when it opens, and
   * not before.
   */
  open(): Promise<AnyCollection>;
  /**
   * Whether `open` would give this collection again. An application may have connected anew;
   * then the store opens the collection again. Default: always `true`.
   */
  isCurrent?(collection: AnyCollection): boolean;
  /**
   * Closes what `open` has opened for this collection, and nothing that the application
   * made.
   */
  close(collection: AnyCollection): Promise<void>;
}

/** A collection that the application has made itself. */
export function handedIn(collection: AnyCollection): CollectionHandle {
  return { open: async () => collection, close: async () => undefined };
}

/** A collection of a client of the store's own. */
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
 * A collection of the connection that `MongooseModule.forRoot()` makes, under the name that
 * was given there.
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
          `mongooseStore() found no Mongoose ${wanted} in the application. Import MongooseModule.forRoot(), give the name of another one in the option ` +
            'connectionName, or let the store open a client of its own: mongoStore({ url }).',
          { cause: error },
        );
      }
      const db = await databaseOf(connection, wanted);
      return db.collection(collectionName);
    },
    // After close() and openUri(), a connection has another client and perhaps another
    // database.
    isCurrent: (collection) =>
      clientOf(collection) === connection.getClient() && collection.dbName === connection.name,
    close: async () => undefined,
  };
}

/**
 * The client of a collection or session. All versions of the driver have it, but not in
 * their types.
 */
export function clientOf(owned: AnyCollection | ClientSession): MongoClient {
  return (owned as unknown as { client: MongoClient }).client;
}

/** Whether it is a collection of the driver; one of Mongoose's has no client. */
export function isCollection(value: unknown): value is AnyCollection {
  return (
    typeof value === 'object' &&
    value !== null &&
    'findOneAndUpdate' in value &&
    typeof clientOf(value as unknown as AnyCollection)?.db === 'function'
  );
}

/** The servers, for people: hosts and ports, nothing secret. */
export function describeServers({ options }: MongoClient): string {
  const hosts = options.srvHost ?? options.hosts.map(String).join(',');
  return `MongoDB at ${hosts}`;
}

/** The driver may repeat the connection string in its error, with the password in it. */
function clientFor(url: string, Client: typeof MongoClient): MongoClient {
  try {
    return new Client(url);
  } catch {
    throw new LockError(
      'The url of mongoStore() is no connection string that the driver can read: it has to look like mongodb://user:password@host:27017/database?replicaSet=rs0, with special characters of user and password percent-encoded, and only options that the driver knows.',
    );
  }
}

/**
 * The driver waits for servers that no longer answer, but a shutdown must not wait for them.
 */
async function close(client: MongoClient): Promise<void> {
  await inTime(client.close()).catch(() => undefined);
}

/** A connection that is lazy, or is just being made, connects now. */
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
