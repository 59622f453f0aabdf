import type { Collection, Db, MongoClient } from 'mongodb';
import { parseDuration, type Duration } from '../../options/duration.js';
import { LockError, show } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import { assertKnownOptions } from '../../options/known-options.js';

/** A collection of the driver, with documents of any type. @publicApi */
export type AnyCollection = Pick<Collection, 'collectionName' | 'dbName' | 'namespace'>;

/** When the server acknowledges a write. @publicApi */
export interface LockWriteConcern {
  /**
   * How many members must have the write: `'majority'`, a number from 1 on, or the name of a
   * custom write concern. Default `'majority'`.
   */
  w?: number | string | undefined;
  /** Whether the members must have the write in their journal. Default `true`. */
  journal?: boolean | undefined;
  /**
   * How many milliseconds the members may take. After that, the outcome is unknown. Default
   * and upper limit: the time limit of the operation.
   */
  wtimeoutMS?: number | undefined;
}

/** Options of {@link MongoLockStore}. @publicApi */
export type MongoLockStoreOptions = CollectionOptions & Durability;

/** The options that all lock stores in MongoDB have. @publicApi */
export interface CollectionOptions {
  /**
   * MongoDB deletes keys this long after their release, by a TTL index that the store creates
   * at start. By default, keys stay, each with its last run, until they are purged. MongoDB
   * never deletes a held lock, however old it is.
   */
  deleteUnusedAfter?: Duration | undefined;
  /**
   * Whether acquisitions that arrive while others are under way share the next command;
   * releases do the same. Each lock keeps its own result. `false` sends each request alone.
   * Default `true`.
   */
  batching?: boolean | undefined;
}

/** Which failures of the database a lock survives. @publicApi */
export type Durability =
  | {
      /**
       * By default, a majority acknowledges and journals each write, so a lock survives the
       * loss of the primary. With a weaker write concern, an election can undo a grant, and
       * two callers may hold one lock; tokens still grow.
       */
      writeConcern?: LockWriteConcern | undefined;
      weak?: false | undefined;
    }
  | {
      /**
       * Makes locks cheaper, but a crash or an election may delete locks and pauses of keys.
       * Then another caller gets the lock while the holder still believes in it, and only
       * fencing tokens protect the data. The primary alone acknowledges a write, before it is
       * in the journal (`w: 1, j: false`). Work that runs once per tick refuses weak locks.
       * Default `false`.
       */
      weak?: boolean | undefined;
      writeConcern?: undefined;
    };

/**
 * Options of {@link mongoStore}. If several of `collection`, `db`, `client` and `url` are
 * given, the store uses the first in this order.
 *
 * @publicApi
 */
export type MongoStoreOptions = MongoLockStoreOptions &
  (
    | {
        /** A client of the application, which stays open. */
        client: MongoClient;
        url?: string | undefined;
        db?: undefined;
        collection?: undefined;
        /** Default: the database in the client's connection string. */
        databaseName?: string | undefined;
        /** The name of the collection. Default `locks`, or `locks_weak` with `weak`. */
        collectionName?: string | undefined;
      }
    | {
        /** A database of a client of the application. */
        db: Db;
        url?: string | undefined;
        client?: MongoClient | undefined;
        collection?: undefined;
        databaseName?: undefined;
        /** The name of the collection. Default `locks`, or `locks_weak` with `weak`. */
        collectionName?: string | undefined;
      }
    | {
        /** A collection of a client of the application. */
        collection: AnyCollection;
        url?: string | undefined;
        client?: MongoClient | undefined;
        db?: Db | undefined;
        databaseName?: undefined;
        collectionName?: undefined;
      }
    | {
        /** The store opens a client of its own on this connection string, and closes it. */
        url: string;
        client?: undefined;
        db?: undefined;
        collection?: undefined;
        /** Default: the database in the connection string. */
        databaseName?: string | undefined;
        /** The name of the collection. Default `locks`, or `locks_weak` with `weak`. */
        collectionName?: string | undefined;
      }
  );

/** Options of {@link mongooseStore}. @publicApi */
export type MongooseStoreOptions = MongoLockStoreOptions & {
  /**
   * The name of the connection, as in `MongooseModule.forRoot(uri, { connectionName })`.
   * Default: the unnamed connection.
   */
  connectionName?: string | undefined;
  /** The name of the collection. Default `locks`, or `locks_weak` with `weak`. */
  collectionName?: string | undefined;
};

/** Store options with the defaults filled in. */
export interface StoreSettings {
  writeConcern: { w: number | 'majority'; journal: boolean; wtimeoutMS: number };
  weak: boolean;
  batching: boolean;
  /** In whole seconds, the unit of TTL indexes. */
  deleteUnusedAfter?: number | undefined;
}

export const STORE_OPTIONS = ['writeConcern', 'deleteUnusedAfter', 'weak', 'batching'];

const COLLECTION = /^[A-Za-z_][A-Za-z0-9_.-]{0,119}$/;
const DATABASE = /^[A-Za-z0-9_-]{1,63}$/;
const WEAK = { w: 1, journal: false };
const LONGEST_TTL_INDEX = 2_147_483_647; // in seconds

/** @throws LockError that names the wrong option and its rule */
export function readStoreOptions(options: MongoLockStoreOptions): StoreSettings {
  assertKnownOptions('MongoLockStore', options, STORE_OPTIONS);
  const { writeConcern, deleteUnusedAfter, weak = false, batching = true } = options;
  for (const [option, value] of Object.entries({ weak, batching }))
    if (typeof value !== 'boolean')
      throw new LockError(`${option} must be true or false, but it is ${show(value)}.`);
  if (weak && writeConcern !== undefined)
    throw new LockError(
      'weak and writeConcern exclude each other: weak locks have the write concern { w: 1, journal: false }. Leave one of them out.',
    );
  return {
    weak,
    batching,
    writeConcern: readWriteConcern(weak ? WEAK : writeConcern),
    ...(deleteUnusedAfter !== undefined && {
      deleteUnusedAfter: Math.min(
        Math.ceil(parseDuration('deleteUnusedAfter', deleteUnusedAfter, { min: 0 }) / 1000),
        LONGEST_TTL_INDEX,
      ),
    }),
  };
}

/** @throws LockError that names the wrong option and its rule */
export function readCollectionName(given: unknown, { weak }: { weak: boolean }): string {
  const name = given === undefined ? (weak ? 'locks_weak' : 'locks') : given;
  if (
    typeof name === 'string' &&
    COLLECTION.test(name) &&
    !name.startsWith('system.') &&
    !name.includes('..')
  )
    return name;
  throw new LockError(
    `collectionName must be at most 120 letters, digits, underscores, dashes and dots. It must begin with a letter or an underscore, but not with "system.", and not contain "..". It is ${show(name)}.`,
  );
}

/** @throws LockError that names the wrong option and its rule */
export function readDatabaseName(name: unknown): string | undefined {
  if (name === undefined || (typeof name === 'string' && DATABASE.test(name))) return name;
  throw new LockError(
    `databaseName must be at most 63 letters, digits, underscores and dashes, but it is ${show(name)}.`,
  );
}

function readWriteConcern(given: LockWriteConcern = {}): StoreSettings['writeConcern'] {
  if (typeof given !== 'object' || given === null)
    throw new LockError(
      `writeConcern must be an object, { w, journal }, but it is ${show(given)}. Without it, a majority acknowledges and journals each write.`,
    );
  assertKnownOptions('writeConcern', given, ['w', 'journal', 'wtimeoutMS']);
  const { w = 'majority', journal = true, wtimeoutMS = OPERATION_LIMIT } = given;
  const acknowledged = typeof w === 'string' ? w !== '' : Number.isInteger(w) && w >= 1;
  if (!acknowledged)
    throw new LockError(
      `writeConcern.w must be 'majority', a number from 1 on or the name of a custom write concern, but it is ${show(w)}. Without an acknowledgement (w: 0) the store cannot know whether it granted a lock.`,
    );
  if (typeof journal !== 'boolean')
    throw new LockError(`writeConcern.journal must be true or false, but it is ${show(journal)}.`);
  if (!Number.isInteger(wtimeoutMS) || wtimeoutMS < 1)
    throw new LockError(
      `writeConcern.wtimeoutMS must be whole milliseconds from 1 on, but it is ${show(wtimeoutMS)}.`,
    );
  // the driver's types lack custom write concerns
  return { w: w as 'majority', journal, wtimeoutMS };
}
