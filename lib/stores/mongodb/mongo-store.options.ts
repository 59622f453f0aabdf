import type { Collection, Db, MongoClient } from 'mongodb';
import { parseDuration, type Duration } from '../../options/duration.js';
import { LockError, show } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import { assertKnownOptions } from '../../options/known-options.js';

/** A collection of the driver, whatever its documents are. @publicApi */
export type AnyCollection = Pick<Collection, 'collectionName' | 'dbName' | 'namespace'>;

/** When a write counts as done. @publicApi */
export interface LockWriteConcern {
  /**
   * How many members have the write: `'majority'`, a number from 1 on, or the name of a
   * custom write concern. Default `'majority'`.
   */
  w?: number | string | undefined;
  /** Whether the write has to be in the journal. Default `true`. */
  journal?: boolean | undefined;
  /**
   * How many milliseconds the members may take. After that the outcome is unknown. By
   * default, and at most, the time limit of the operation.
   */
  wtimeoutMS?: number | undefined;
}

/** Options of {@link MongoLockStore}. @publicApi */
export type MongoLockStoreOptions = CollectionOptions & Durability;

/** What all lock stores in MongoDB have. @publicApi */
export interface CollectionOptions {
  /**
   * MongoDB deletes keys that were released this long ago, by a TTL index that the store
   * creates at start. Default: keys stay, each with its last run, until they are purged. A
   * held lock is never deleted, whatever its age.
   */
  deleteUnusedAfter?: Duration | undefined;
  /**
   * Acquisitions that arrive while others are under way share the next command, and so do
   * releases; each lock keeps a result of its own. `false` sends each request by itself.
   * Default `true`.
   */
  batching?: boolean | undefined;
}

/** What a lock survives. @publicApi */
export type Durability =
  | {
      /**
       * By default, a majority acknowledges a write, and journals it: a lock survives the
       * loss of the primary. With less, an election can take locks away, and two callers may
       * hold one lock; tokens still grow.
       */
      writeConcern?: LockWriteConcern | undefined;
      weak?: false | undefined;
    }
  | {
      /**
       * Cheaper locks, which a crash or an election may take away, with the pauses. Then
       * other callers get the lock while a holder still believes in it, and only fencing
       * tokens protect. The primary alone acknowledges a write, and does not journal it (`w:
       * 1, j: false`). No work runs once per tick on weak locks. Default `false`.
       */
      weak?: boolean | undefined;
      writeConcern?: undefined;
    };

/**
 * Options of {@link mongoStore}. Of `collection`, `db`, `client` and `url`, the store takes
 * the most specific one.
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
        /** Default the one of the client's connection string. */
        databaseName?: string | undefined;
        /** Default `locks`, of weak ones `locks_weak`. */
        collectionName?: string | undefined;
      }
    | {
        /** A database of a client of the application. */
        db: Db;
        url?: string | undefined;
        client?: MongoClient | undefined;
        collection?: undefined;
        databaseName?: undefined;
        /** Default `locks`, of weak ones `locks_weak`. */
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
        /** Default the one of the connection string. */
        databaseName?: string | undefined;
        /** Default `locks`, of weak ones `locks_weak`. */
        collectionName?: string | undefined;
      }
  );

/** Options of {@link mongooseStore}. @publicApi */
export type MongooseStoreOptions = MongoLockStoreOptions & {
  /**
   * The name that was given to `MongooseModule.forRoot(uri, { connectionName })`. Default:
   * the unnamed connection.
   */
  connectionName?: string | undefined;
  /** Default `locks`, of weak ones `locks_weak`. */
  collectionName?: string | undefined;
};

/** Store options with the defaults filled in. */
export interface StoreSettings {
  writeConcern: { w: number | 'majority'; journal: boolean; wtimeoutMS: number };
  weak: boolean;
  batching: boolean;
  /** Whole seconds, as TTL indexes have it. */
  deleteUnusedAfter?: number | undefined;
}

export const STORE_OPTIONS = ['writeConcern', 'deleteUnusedAfter', 'weak', 'batching'];

const COLLECTION = /^[A-Za-z_][A-Za-z0-9_.-]{0,119}$/;
const DATABASE = /^[A-Za-z0-9_-]{1,63}$/;
const WEAK = { w: 1, journal: false };
const LONGEST_TTL_INDEX = 2_147_483_647; // seconds

/** @throws LockError that names the option that is wrong, and the rule */
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

/** @throws LockError that names the option that is wrong, and the rule */
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
    `collectionName must be a name of letters, digits, underscores, dashes and dots that begins with a letter or an underscore, at most 120 characters and not in "system.", but it is ${show(name)}.`,
  );
}

/** @throws LockError that names the option that is wrong, and the rule */
export function readDatabaseName(name: unknown): string | undefined {
  if (name === undefined || (typeof name === 'string' && DATABASE.test(name))) return name;
  throw new LockError(
    `databaseName must be a name of letters, digits, underscores and dashes, at most 63, but it is ${show(name)}.`,
  );
}

function readWriteConcern(given: LockWriteConcern = {}): StoreSettings['writeConcern'] {
  if (typeof given !== 'object' || given === null)
    throw new LockError(
      `writeConcern must be an object, { w, journal }, but it is ${show(given)}. Leave it out for majority and journalled.`,
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
  return { w: w as 'majority', journal, wtimeoutMS }; // the driver's types know no custom write concerns
}
