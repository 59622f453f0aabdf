import type { Collection, Document, MongoClient } from 'mongodb';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { Opening } from '../opening.js';
import { OPERATION_LIMIT, TimeLimit } from '../time-limit.js';
import { clientOf, describeServers, type CollectionHandle } from './collection.handle.js';
import type { LockDocument } from './lock-document.js';
import { byKey, renewal } from './lock-updates.js';
import { isMissingCollection, storeFailure } from './mongo-failure.js';
import type { StoreSettings } from './mongo-store.options.js';

/** A collection that was found able to keep locks. */
export interface OpenCollection {
  collection: Collection<LockDocument>;
  client: MongoClient;
  /** Whether the server has transactions: a replica set or a sharded cluster. */
  transactions: boolean;
  /** The collection and its servers, for people, in messages. */
  target: string;
}

/** Options of one operation, which overrule what the application's client has. */
export interface OperationOptions {
  read: typeof AS_VALUES & { maxTimeMS: number; readPreference: 'primary'; readConcern: { level: 'local' } };
  write: typeof AS_VALUES & {
    maxTimeMS: number;
    writeConcern: { w: number | 'majority'; journal: boolean; wtimeoutMS: number };
  };
}

type Work<T> = (
  collection: Collection<LockDocument>,
  options: OperationOptions,
  open: OpenCollection,
) => Promise<T>;

/** However the application reads its own documents. */
const AS_VALUES = {
  raw: false,
  promoteValues: true,
  promoteLongs: true,
  useBigInt64: false,
  ignoreUndefined: false,
  fieldsAsRaw: {},
};

const OLDEST_WIRE = 13; // MongoDB 5.0
const CLEANING = 'nestjs_locked_unused';

/** Runs operations on the collection that keeps the locks; opens it before the first one. Whatever fails is one of our errors. */
export class LockCollection {
  private readonly opening = new Opening(() => this.openCollection());
  /** The collection's name, as soon as it is known. */
  name: string | undefined;

  constructor(
    private readonly handle: CollectionHandle,
    private readonly settings: StoreSettings,
  ) {}

  async open(): Promise<void> {
    await this.opening.start();
  }

  async close(): Promise<void> {
    if (await this.opening.end()) await this.handle.close();
  }

  /**
   * @param doing for messages, such as `acquire "nightly-report"`
   * @param limit milliseconds
   */
  async run<T>(doing: string, limit: number, work: Work<T>): Promise<T> {
    const open = await this.opening.get(doing);
    const timeLimit = new TimeLimit(limit);
    try {
      return await timeLimit.race(work(open.collection, this.options(limit), open));
    } catch (error) {
      throw storeFailure(error, doing, open.target);
    } finally {
      timeLimit.end();
    }
  }

  /** The open collection, for what takes longer than an operation: transactions. */
  async opened(doing: string): Promise<OpenCollection> {
    return this.opening.get(doing);
  }

  private options(limit: number): OperationOptions {
    const maxTimeMS = Math.ceil(limit);
    const { writeConcern } = this.settings;
    const wtimeoutMS = Math.min(writeConcern.wtimeoutMS, maxTimeMS);
    return {
      read: { ...AS_VALUES, maxTimeMS, readPreference: 'primary', readConcern: { level: 'local' } },
      write: { ...AS_VALUES, maxTimeMS, writeConcern: { ...writeConcern, wtimeoutMS } },
    };
  }

  private async openCollection(): Promise<OpenCollection> {
    const collection: Collection<LockDocument> = await this.handle.open();
    const client = clientOf(collection);
    const target = `${describeServers(client)} (${collection.namespace})`;
    try {
      const server = await client
        .db(collection.dbName)
        .command({ hello: 1 }, { ...AS_VALUES, readPreference: 'primary' });
      if (!(server.maxWireVersion >= OLDEST_WIRE))
        throw new LockStoreError(`${target} is older than MongoDB 5.0, which the lock store needs.`);
      await this.assertPlain(client, collection, target);
      await this.probe(collection);
      await this.ensureIndex(collection, target);
      this.name = collection.collectionName;
      return { collection, client, target, transactions: 'setName' in server || server.msg === 'isdbgrid' };
    } catch (error) {
      await this.handle.close();
      throw storeFailure(error, 'open the lock store', target);
    }
  }

  /** A collation would make one lock of two keys, and a view cannot be written to. */
  private async assertPlain(
    client: MongoClient,
    { dbName, collectionName }: Collection<LockDocument>,
    target: string,
  ): Promise<void> {
    const [found] = await client
      .db(dbName)
      .listCollections(
        { name: collectionName },
        { ...AS_VALUES, nameOnly: false, authorizedCollections: true },
      )
      .toArray();
    const { type = 'collection', options = {} }: Document = found ?? {};
    if (type !== 'collection')
      throw new LockError(
        `${target} is a ${String(type)}. Give the lock store a collection of its own: the option collectionName.`,
      );
    if (options.collation)
      throw new LockError(
        `${target} has a collation, by which keys that differ in case or accents can be one lock. Give the lock store a collection of its own: the option collectionName.`,
      );
  }

  /** An update of a key that nobody can have: rights, write concern and the clock in pipelines show before the first lock. */
  private async probe(collection: Collection<LockDocument>): Promise<void> {
    await collection.updateOne(byKey(''), renewal(1), this.options(OPERATION_LIMIT).write);
  }

  /** Only cleans up: what it may delete was released, and has no meaning to any lock. */
  private async ensureIndex(collection: Collection<LockDocument>, target: string): Promise<void> {
    const { deleteUnusedAfter: expireAfterSeconds } = this.settings;
    if (expireAfterSeconds === undefined) return;
    const there = (await indexesOf(collection)).find(({ name }) => name === CLEANING);
    if (!there) {
      const options = this.options(OPERATION_LIMIT).write;
      await collection.createIndex({ freeSince: 1 }, { name: CLEANING, expireAfterSeconds, ...options });
    } else if (Number(there.expireAfterSeconds) !== expireAfterSeconds)
      throw new LockError(
        `${target} has an index "${CLEANING}" that deletes after ${String(there.expireAfterSeconds)} s, but deleteUnusedAfter is ${expireAfterSeconds} s. Drop the index, and the next start creates it anew.`,
      );
  }
}

async function indexesOf(collection: Collection<LockDocument>): Promise<Document[]> {
  try {
    return await collection.listIndexes(AS_VALUES).toArray();
  } catch (error) {
    if (isMissingCollection(error)) return []; // the first lock creates it
    throw error;
  }
}
