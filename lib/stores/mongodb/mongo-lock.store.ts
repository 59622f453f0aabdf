import { randomUUID } from 'node:crypto';
import type { ClientSession, Document } from 'mongodb';
import type { LockInspection, LockPage } from '../../interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  BatchRenewer,
  LeaseRenewal,
  ListRequest,
  LockAcquireResult,
  LockInspector,
  WaiterRelease,
  LockPauser,
  LockStore,
  OnceKeeper,
  PurgeRequest,
  ReleaseRequest,
  RenewalOutcome,
  StoreClock,
  StoreDescription,
  StoreLifecycle,
  WaiterRequest,
  TransactionGuard,
} from '../../interfaces/lock-store.interface.js';
import { storedKey } from '../../options/lock-key.js';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { CONTENTION, refusalOf } from '../shared/conditions.js';
import { inspectionOf, pageOf, recordOf } from '../shared/key-state.js';
import {
  leaseOf,
  leaseRequestOf,
  listRequestOf,
  purgeRequestOf,
  releaseOf,
  releaseToWaiterOf,
} from '../shared/requests.js';
import { limitOf, OPERATION_LIMIT } from '../shared/time-limit.js';
import { handedIn, isCollection, type CollectionHandle } from './collection.handle.js';
import { renewTogether } from './batch-renewal.js';
import { LockCollection } from './lock-collection.js';
import { isLock, stateOf, VIEW, type LockView } from './lock-document.js';
import { LockTransactions, watchTransaction } from './lock-transactions.js';
import * as update from './lock-updates.js';
import { isContention, isConversionFailure } from './mongo-failure.js';
import { AS_VALUES } from './operation-options.js';
import { readStoreOptions, type AnyCollection, type MongoLockStoreOptions } from './mongo-store.options.js';

const BATCH = 500;
const PURGED_AT_ONCE = 1_000;

/**
 * Keeps locks as documents of a MongoDB collection (5.0 or newer), each under its key as `_id`.
 *
 * Each operation is one command, judged by the clock of the primary (`$$NOW`) and acknowledged by a majority. An acquisition or renewal that is
 * not answered within a third of its ttl (1 to 10 s), anything else that is not answered within 10 s, fails with a transient {@link LockStoreError}.
 *
 * A collection that was handed in belongs to a client that is never closed here. The first operation opens the store if `prepare` has not.
 *
 * @publicApi
 */
export class MongoLockStore
  implements
    LockStore,
    WaiterRelease,
    BatchRenewer,
    LockInspector,
    LockPauser,
    OnceKeeper,
    TransactionGuard,
    StoreClock,
    StoreLifecycle,
    StoreDescription
{
  /** Not in weak collections, which may forget what has run. */
  readonly keepsOnce: boolean;
  private readonly locks: LockCollection;
  private readonly transactions: LockTransactions;

  /** @throws LockError for an option that does not exist or is not valid */
  constructor(collection: AnyCollection | CollectionHandle, options: MongoLockStoreOptions = {}) {
    if (
      !isCollection(collection) &&
      typeof (collection as Partial<CollectionHandle> | undefined)?.open !== 'function'
    )
      throw new LockError(
        `MongoLockStore needs a collection of the mongodb driver, but it got ${collection ? 'something else' : String(collection)}. For a connection string, a client or a database, use mongoStore(); on a Mongoose connection, mongooseStore().`,
      );
    const settings = readStoreOptions(options);
    const handle = isCollection(collection) ? handedIn(collection) : collection;
    this.keepsOnce = !settings.weak;
    this.locks = new LockCollection(handle, settings);
    this.transactions = new LockTransactions(this.locks, settings);
  }

  async prepare(): Promise<void> {
    await this.locks.open();
  }

  async close(): Promise<void> {
    await this.locks.close();
  }

  describe(): string {
    const collection = this.locks.name ? ` collection=${this.locks.name}` : '';
    return `store=mongodb${collection}${this.keepsOnce ? '' : ' weak=true'}`;
  }

  async readClock(): Promise<number> {
    const hello = await this.locks.run('read the clock', OPERATION_LIMIT, (collection, _, { client }) =>
      client.db(collection.dbName).command({ hello: 1 }, { ...AS_VALUES, readPreference: 'primary' }),
    );
    return Number(hello.localTime);
  }

  async acquire(
    key: string,
    owner: string,
    ttl: number,
    request: AcquireRequest = {},
  ): Promise<LockAcquireResult> {
    const wanted = leaseRequestOf(key, owner, ttl, request);
    const attempt = randomUUID();
    const projection = { ...VIEW, attempt: 1, ignored: 1 };
    const answer = await this.locks.run(
      `acquire "${key}"`,
      limitOf(ttl),
      async (collection, { write }) => {
        const options = { ...write, projection, upsert: true, returnDocument: 'after' } as const;
        return collection
          .findOneAndUpdate(update.byKey(wanted.key), update.acquisition(wanted, attempt), options)
          .catch((error: unknown) => {
            if (isContention(error)) return 'contention' as const;
            if (wanted.tick !== null && isConversionFailure(error)) return 'tick-ahead' as const;
            throw error;
          });
      },
      [owner],
    );
    if (answer === null) return CONTENTION;
    if (typeof answer === 'string') return { acquired: false, reason: answer };
    const view = answer as unknown as LockView & { attempt: string; ignored?: Date };
    this.assertLock(view, `acquire "${key}"`);
    // A holder whose lease has run out tells nothing: someone is taking it over right now.
    if (view.attempt !== attempt) return refusalOf(wanted, stateOf(view)) ?? CONTENTION;
    const { token, ignored } = view;
    return { acquired: true, fencingToken: Number(token), ...(ignored && { ignoredTick: ignored }) };
  }

  async renew(key: string, owner: string, ttl: number): Promise<boolean> {
    const lease = leaseOf(key, owner, ttl);
    return this.change(
      `renew "${key}"`,
      update.ownLease(lease.key, lease.owner),
      update.renewal(lease.ttl),
      limitOf(ttl),
      [owner],
    );
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const wanted = releaseOf(key, owner, end);
    return this.change(
      `release "${key}"`,
      update.ownLease(wanted.key, wanted.owner),
      update.release(wanted.keepFor, wanted.outcome),
      OPERATION_LIMIT,
      [owner],
    );
  }

  /** One command; one more to tell why it was refused. */
  async releaseToWaiter(
    key: string,
    owner: string,
    next: WaiterRequest,
    end: Pick<ReleaseRequest, 'outcome'> = {},
  ): Promise<LockAcquireResult> {
    const wanted = releaseToWaiterOf(key, owner, next, end);
    const limit = limitOf(wanted.ttl);
    return this.locks.run(
      `release "${key}" to a waiter`,
      limit,
      async (collection, { read, write }) => {
        const lease = update.ownLease(wanted.key, wanted.owner);
        const unpaused = update.ownUnpausedLease(wanted.key, wanted.owner);
        const options = { ...write, projection: { token: 1 }, returnDocument: 'after' } as const;
        const released = await collection
          .findOneAndUpdate(unpaused, update.releaseToWaiter(wanted, randomUUID()), options)
          .catch((error: unknown) => {
            if (isContention(error)) return 'contention' as const;
            throw error;
          });
        if (released === 'contention') return CONTENTION;
        if (released) return { acquired: true, fencingToken: released.token };
        const found = await collection.findOne(lease, { ...read, projection: { paused: 1 } });
        if (!found) return { acquired: false, reason: 'held' };
        return { acquired: false, reason: found.paused ? 'paused' : 'contention' }; // it was resumed just now
      },
      [owner, next.owner],
    );
  }

  /** Renews in batches of 500: one command when all are still held, one more to see which when not. */
  async renewMany(leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    const all = leases.map(({ key, owner, ttl }) => leaseOf(key, owner, ttl));
    const outcomes: RenewalOutcome[] = [];
    for (let start = 0; start < all.length; start += BATCH) {
      const batch = all.slice(start, start + BATCH);
      const limit = Math.min(...batch.map(({ ttl }) => limitOf(ttl)));
      const renewal = this.locks.run(
        `renew ${batch.length} locks`,
        limit,
        (collection, options) => renewTogether(collection, options, batch),
        batch.map(({ owner }) => owner),
      );
      outcomes.push(...(await renewal));
    }
    return outcomes;
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = storedKey(key);
    const view = await this.locks.run(`inspect "${key}"`, OPERATION_LIMIT, (collection, { read }) =>
      collection.findOne<LockView>(update.lock(stored), { ...read, projection: VIEW }),
    );
    return inspectionOf(stored, view ? stateOf(view) : undefined);
  }

  async list(request: ListRequest): Promise<LockPage> {
    const { prefix, after, limit } = listRequestOf(request);
    const found = await this.locks.run('list the locks', OPERATION_LIMIT, (collection, { read }) =>
      collection
        .find<LockView>(update.heldAfter(prefix, after), { ...read, projection: VIEW })
        .sort({ _id: 1 })
        .limit(limit + 1) // the one more tells whether there is a next page
        .toArray(),
    );
    return pageOf(
      found.map((view) => recordOf(stateOf(view))),
      limit,
    );
  }

  async forceRelease(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.change(`force the release of "${key}"`, update.heldKey(stored), update.forcedRelease());
  }

  async pause(key: string): Promise<boolean> {
    const stored = storedKey(key);
    const before = await this.locks.run(`pause "${key}"`, OPERATION_LIMIT, (collection, { write }) => {
      const projection = { attempt: 1, paused: 1 } as const;
      const options = { ...write, projection, upsert: true, returnDocument: 'before' } as const;
      const pause = async () =>
        collection.findOneAndUpdate(update.byKey(stored), update.pause(stored, randomUUID()), options);
      return pause().catch((error: unknown) => {
        if (isContention(error)) return pause(); // who was faster has made the document
        throw error;
      });
    });
    if (before === null) return true;
    this.assertLock(before, `pause "${key}"`);
    return before.paused !== true;
  }

  async resume(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.change(`resume "${key}"`, update.pausedKey(stored), update.resumption());
  }

  async purge(request: PurgeRequest): Promise<number> {
    const { prefix, olderThan } = purgeRequestOf(request);
    const unused = update.unused(prefix, olderThan);
    for (let purged = 0; ;) {
      const deleted = await this.locks.run('purge', OPERATION_LIMIT, async (collection, { read, write }) => {
        const found = await collection
          .find(unused, { ...read, projection: { _id: 1 } })
          .limit(PURGED_AT_ONCE)
          .toArray();
        const _id = { $in: found.map((document) => document._id) };
        const { deletedCount } = await collection.deleteMany({ $and: [{ _id }, unused] }, write);
        return { count: deletedCount, last: found.length < PURGED_AT_ONCE };
      });
      purged += deleted.count;
      if (deleted.last) return purged;
    }
  }

  async transaction<T>(work: (session: ClientSession) => Promise<T>): Promise<T> {
    return this.transactions.run(work);
  }

  async guard(session: ClientSession, key: string, owner: string, fencingToken: number): Promise<boolean> {
    return this.transactions.guard(session, { key, owner, fencingToken });
  }

  watchTransaction(session: ClientSession): () => boolean {
    return watchTransaction(session);
  }

  /** Under a key of ours there may be a document of somebody else's. */
  private assertLock(document: { attempt?: unknown }, doing: string): void {
    if (isLock(document)) return;
    throw new LockStoreError(
      `Could not ${doing}: under this key, ${this.describe()} has a document that is no lock. Give the lock store a collection of its own: the option collectionName.`,
    );
  }

  /** Changes one document, if it is as the filter says. */
  private async change(
    doing: string,
    filter: Document,
    changes: Document[],
    limit = OPERATION_LIMIT,
    owners: readonly string[] = [],
  ): Promise<boolean> {
    const result = await this.locks.run(
      doing,
      limit,
      (collection, { write }) => collection.updateOne(filter, changes, write),
      owners,
    );
    return result.matchedCount === 1;
  }
}
