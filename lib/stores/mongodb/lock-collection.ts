import type { Collection, Document, MongoClient } from 'mongodb';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { Opening } from '../shared/opening.js';
import { inTime, OPERATION_LIMIT, TimeLimit } from '../shared/operation-limit.js';
import { clientOf, describeServers, type CollectionHandle } from './collection.handle.js';
import { isLock, type LockDocument } from './lock-document.js';
import { byKey, renewal } from './lock-updates.js';
import { isMissingCollection, isUnauthorized, storeFailure } from './mongo-failure.js';
import type { StoreSettings } from './mongo-store.options.js';

/** An open collection that has passed the checks of `examine`. */
export interface OpenCollection {
  collection: Collection<LockDocument>;
  client: MongoClient;
  /** Whether the server has transactions. Replica sets and sharded clusters have them. */
  transactions: boolean;
  /** The collection and its servers, as messages name them. */
  target: string;
}

/** Options of one operation. They override the options of the application's client. */
interface OperationOptions {
  read: CommonOptions & { readPreference: 'primary'; readConcern: { level: 'local' } };
  write: CommonOptions & { writeConcern: StoreSettings['writeConcern'] };
}

/**
 * Once `signal` is aborted, the driver (6.13 or newer) does not send the operation again. The
 * driver's types have this option for reads only.
 */
type CommonOptions = typeof AS_VALUES & { maxTimeMS: number; signal?: AbortSignal };

/** An open collection, with the options and the name of one operation. */
export interface OpenLocks extends OpenCollection, OperationOptions {
  /** The name of the operation in messages, such as `acquire "nightly-report"`. */
  doing: string;
}

/**
 * Sets how the store reads values, whatever the application's client sets for its own
 * documents.
 */
export const AS_VALUES = {
  raw: false,
  promoteValues: true,
  promoteLongs: true,
  useBigInt64: false,
  ignoreUndefined: false,
  fieldsAsRaw: {},
};

const OLDEST_WIRE = 13; // MongoDB 5.0
const CLEANING = 'nestjs_locked_unused';
const SAMPLE = 20;

/** Runs operations on the collection of the locks, and opens it before the first operation. */
export class LockCollection {
  private readonly opening: Opening<OpenCollection>;
  /** The collection that was opened last, even if it is closed by now. */
  private current: OpenCollection | undefined;

  constructor(
    private readonly handle: CollectionHandle,
    private readonly settings: StoreSettings,
  ) {
    this.opening = new Opening(
      async () => (this.current = await openCollection(handle, settings)),
      ({ collection }) => handle.isCurrent?.(collection) ?? true,
    );
  }

  /** The collection's name, once the collection is open. */
  get name(): string | undefined {
    return this.current?.collection.collectionName;
  }

  /**
   * The largest number of connections to a server, once the collection is open; 0 means no
   * limit.
   */
  get poolSize(): number | undefined {
    return this.current?.client.options.maxPoolSize;
  }

  async open(): Promise<void> {
    await this.opening.start();
  }

  async close(): Promise<void> {
    const opened = await this.opening.close();
    if (opened) await this.handle.close(opened.collection);
  }

  /**
   * Runs one operation, and throws only errors of this library.
   *
   * @param doing the name of the operation in messages, such as `acquire "nightly-report"`
   * @param owners the owner ids that the work uses, which no error may show
   */
  async run<T>(
    doing: string,
    work: (locks: OpenLocks) => Promise<T>,
    { timeout = OPERATION_LIMIT, owners }: { timeout?: number | undefined; owners?: readonly string[] } = {},
  ): Promise<T> {
    try {
      return await this.runForMany(doing, timeout, work);
    } catch (error) {
      throw this.failureOf(error, doing, owners);
    }
  }

  /**
   * Runs commands for the requests of several callers. It rejects with the error of the
   * driver, from which {@link failureOf} makes an error for each request.
   *
   * @param timeout milliseconds
   */
  async runForMany<T>(doing: string, timeout: number, work: (locks: OpenLocks) => Promise<T>): Promise<T> {
    const timeLimit = new TimeLimit(timeout);
    const abandoned = new AbortController();
    try {
      const opened = await timeLimit.race(this.opening.get(doing));
      const options = optionsFor(this.settings, timeout, abandoned.signal);
      return await timeLimit.race(work({ ...opened, ...options, doing }));
    } catch (error) {
      abandoned.abort(); // so that the driver does not send it again to a later primary
      throw error;
    } finally {
      timeLimit.end();
    }
  }

  /** @param owners the owner ids that the work has used, which no error may show */
  failureOf(error: unknown, doing: string, owners?: readonly string[]): LockError {
    if (this.opening.closed && !(error instanceof LockError))
      return new LockStoreError(`Could not ${doing}: the lock store was closed before the operation ended.`, {
        cause: safeError(error, owners),
        transient: true,
      });
    return storeFailure(error, doing, this.current?.target ?? 'MongoDB', owners);
  }

  /** Returns the open collection for transactions, which may take longer than an operation. */
  async opened(doing: string): Promise<OpenCollection> {
    return this.opening.get(doing);
  }
}

/** @param limit milliseconds */
function optionsFor({ writeConcern }: StoreSettings, limit: number, signal?: AbortSignal): OperationOptions {
  const maxTimeMS = Math.ceil(limit);
  const common = { ...AS_VALUES, maxTimeMS, ...(signal && { signal }) };
  const wtimeoutMS = Math.min(writeConcern.wtimeoutMS, maxTimeMS);
  return {
    read: { ...common, readPreference: 'primary', readConcern: { level: 'local' } },
    write: { ...common, writeConcern: { ...writeConcern, wtimeoutMS } },
  };
}

/**
 * Opens the collection and checks it. If a check fails, the handle closes the collection.
 *
 * @throws LockError, LockStoreError when the collection cannot keep locks
 */
async function openCollection(handle: CollectionHandle, settings: StoreSettings): Promise<OpenCollection> {
  const collection = (await handle.open()) as Collection<LockDocument>;
  const client = clientOf(collection);
  const target = `${describeServers(client)} (${collection.namespace})`;
  // The limit includes the time to connect, since the application's client may not be
  // connected.
  const limit = client.options.serverSelectionTimeoutMS + OPERATION_LIMIT;
  try {
    const transactions = await inTime(examine(client, collection, settings, target), limit);
    return { collection, client, target, transactions };
  } catch (error) {
    await handle.close(collection);
    throw storeFailure(error, 'open the lock store', target);
  }
}

/**
 * Checks the server and the collection. Resolves to whether the server has transactions.
 *
 * @throws LockError, LockStoreError when the server or the collection cannot keep locks
 */
async function examine(
  client: MongoClient,
  collection: Collection<LockDocument>,
  settings: StoreSettings,
  target: string,
): Promise<boolean> {
  const { read, write } = optionsFor(settings, OPERATION_LIMIT);
  const server = await client
    .db(collection.dbName)
    .command({ hello: 1 }, { ...AS_VALUES, readPreference: 'primary' });
  if (!(server.maxWireVersion >= OLDEST_WIRE))
    throw new LockStoreError(`${target} is older than MongoDB 5.0, which the lock store needs.`);
  assertPlain(await definitionOf(client, collection), target);

  const sample = await collection
    .find({}, { ...read, projection: { attempt: 1 } })
    .limit(SAMPLE)
    .toArray();
  if (!sample.every(isLock)) throw new LockError(`${target} has documents that are no locks. ${OF_ITS_OWN}`);

  // This test updates the empty key, which no lock has. So the start fails, and not the first
  // lock, if rights or the write concern are wrong, or the server lacks `$$NOW`.
  await collection.updateOne(byKey(''), renewal(1), write);

  const { deleteUnusedAfter } = settings;
  if (deleteUnusedAfter !== undefined) await ensureIndex(collection, deleteUnusedAfter, write, target);
  return 'setName' in server || server.msg === 'isdbgrid';
}

const OF_ITS_OWN = 'Give the lock store a collection of its own: the option collectionName.';

/**
 * Type and options of the collection. The result is empty if the collection does not exist, or
 * if the user may not list collections.
 */
async function definitionOf(
  client: MongoClient,
  { dbName, collectionName }: Collection<LockDocument>,
): Promise<Document> {
  const options = { ...AS_VALUES, nameOnly: false };
  try {
    const [found] = await client.db(dbName).listCollections({ name: collectionName }, options).toArray();
    return found ?? {};
  } catch (error) {
    if (isUnauthorized(error)) return {};
    throw error;
  }
}

/**
 * Refuses a collation, which could make one lock of two keys, and a view, which cannot be
 * written.
 */
function assertPlain({ type = 'collection', options = {} }: Document, target: string): void {
  if (type !== 'collection') throw new LockError(`${target} is a ${String(type)}. ${OF_ITS_OWN}`);
  if (options.collation)
    throw new LockError(
      `${target} has a collation, so keys that differ only in case or accents could be one lock. ${OF_ITS_OWN}`,
    );
}

/**
 * Creates the TTL index, which deletes a document some time after `freeSince`. No lock depends
 * on the document from then on.
 */
async function ensureIndex(
  collection: Collection<LockDocument>,
  expireAfterSeconds: number,
  options: object,
  target: string,
): Promise<void> {
  const there = (await indexesOf(collection)).find(({ name }) => name === CLEANING);
  if (!there)
    await collection.createIndex({ freeSince: 1 }, { ...options, name: CLEANING, expireAfterSeconds });
  else if (Number(there.expireAfterSeconds) !== expireAfterSeconds)
    throw new LockError(
      `${target} has an index "${CLEANING}" that deletes after ${String(there.expireAfterSeconds)} s, but deleteUnusedAfter is ${expireAfterSeconds} s. Drop the index; the next start creates it again.`,
    );
}

async function indexesOf(collection: Collection<LockDocument>): Promise<Document[]> {
  try {
    return await collection.listIndexes(AS_VALUES).toArray();
  } catch (error) {
    if (isMissingCollection(error)) return []; // the first lock creates the collection
    throw error;
  }
}
