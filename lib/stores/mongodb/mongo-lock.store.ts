import type { ClientSession, Document } from 'mongodb';
import type { LockInspection, LockPage } from '../../interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  BatchRenewer,
  LeaseRenewal,
  ListRequest,
  LockAcquireResult,
  LockInspector,
  LockPauser,
  LockStore,
  OnceKeeper,
  PurgeRequest,
  ReleaseRequest,
  RenewalOutcome,
  StoreClock,
  StoreDescription,
  StoreLifecycle,
  StoreRequest,
  TransactionGuard,
  WaiterRelease,
  WaiterRequest,
} from '../../interfaces/lock-store.interface.js';
import { storedKey } from '../../options/lock-key.js';
import { LockError } from '../../lock.errors.js';
import { inspectionOf, pageOf, recordOf } from '../shared/key-state.js';
import {
  leaseOf,
  leaseRequestOf,
  listRequestOf,
  purgeRequestOf,
  releaseOf,
  releaseToWaiterOf,
} from '../shared/requests.js';
import { LARGEST_BATCH } from '../shared/batcher.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import { BatchedRequests } from './batched-requests.js';
import { handedIn, isCollection, type CollectionHandle } from './collection.handle.js';
import { AS_VALUES, LockCollection } from './lock-collection.js';
import * as commands from './lock-commands.js';
import { stateOf, VIEW, type LockView } from './lock-document.js';
import { MongoTransactions, watchTransaction } from './mongo-transactions.js';
import * as update from './lock-updates.js';
import { readStoreOptions, type AnyCollection, type MongoLockStoreOptions } from './mongo-store.options.js';

/**
 * Keeps locks as documents of a MongoDB collection (5.0 or newer), each under its key as
 * `_id`.
 *
 * Each operation is one command; acquisitions that arrive together share a command, and so do
 * releases. The clock of the primary (`$$NOW`) decides, and a majority acknowledges each
 * write. If the server does not answer within the `timeout` of the request, 10 s by default,
 * the operation fails with a transient {@link LockStoreError}.
 *
 * The store never closes a client of the application. The first operation opens the store if
 * `prepare` has not.
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
  /**
   * Whether the store can run a key once per tick. It is `false` for weak locks, whose ticks
   * may be lost.
   */
  readonly keepsOnce: boolean;
  private readonly locks: LockCollection;
  private readonly requests: BatchedRequests;
  private readonly transactions: MongoTransactions;

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
    this.requests = new BatchedRequests(this.locks, settings.batching);
    this.transactions = new MongoTransactions(this.locks, settings);
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
    const hello = await this.locks.run('read the clock', ({ client, collection }) =>
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
    const operation = { doing: `acquire "${key}"`, timeout: request.timeout, owners: [owner] };
    return this.requests.acquire(operation, wanted);
  }

  async renew(key: string, owner: string, ttl: number, { timeout }: StoreRequest = {}): Promise<boolean> {
    const lease = leaseOf(key, owner, ttl);
    return this.change(`renew "${key}"`, update.ownLease(lease.key, lease.owner), update.renewal(lease.ttl), {
      timeout,
      owners: [owner],
    });
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const wanted = releaseOf(key, owner, end);
    const operation = { doing: `release "${key}"`, timeout: end.timeout, owners: [owner] };
    return this.requests.release(operation, wanted);
  }

  async releaseToWaiter(
    key: string,
    owner: string,
    next: WaiterRequest,
    end: Pick<ReleaseRequest, 'outcome' | 'timeout'> = {},
  ): Promise<LockAcquireResult> {
    const wanted = releaseToWaiterOf(key, owner, next, end);
    return this.locks.run(
      `release "${key}" to a waiter`,
      (locks) => commands.releaseToWaiter(locks, wanted),
      { timeout: end.timeout, owners: [owner, next.owner] },
    );
  }

  /**
   * Renews in batches of 500. A batch takes one command if all leases are still held,
   * otherwise two.
   */
  async renewMany(
    leases: readonly LeaseRenewal[],
    { timeout = OPERATION_LIMIT }: StoreRequest = {},
  ): Promise<RenewalOutcome[]> {
    const all = leases.map(({ key, owner, ttl }) => leaseOf(key, owner, ttl));
    const until = performance.now() + timeout;
    const outcomes: RenewalOutcome[] = [];
    for (let start = 0; start < all.length; start += LARGEST_BATCH) {
      const batch = all.slice(start, start + LARGEST_BATCH);
      const renewal = this.locks.run(
        `renew ${batch.length} locks`,
        (locks) => commands.renewMany(locks, batch),
        { timeout: Math.max(1, until - performance.now()), owners: batch.map(({ owner }) => owner) },
      );
      outcomes.push(...(await renewal));
    }
    return outcomes;
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = storedKey(key);
    const view = await this.locks.run(`inspect "${key}"`, ({ collection, read }) =>
      collection.findOne<LockView>(update.lock(stored), { ...read, projection: VIEW }),
    );
    return inspectionOf(stored, view ? stateOf(view) : undefined);
  }

  async list(request: ListRequest): Promise<LockPage> {
    const { prefix, after, limit } = listRequestOf(request);
    const found = await this.locks.run('list the locks', ({ collection, read }) =>
      collection
        .find<LockView>(update.heldAfter(prefix, after), { ...read, projection: VIEW })
        .sort({ _id: 1 })
        .limit(limit + 1) // one lock more shows whether there is a next page
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
    return this.locks.run(`pause "${key}"`, (locks) => commands.pause(locks, stored));
  }

  async resume(key: string): Promise<boolean> {
    const stored = storedKey(key);
    return this.change(`resume "${key}"`, update.pausedKey(stored), update.resumption());
  }

  async purge(request: PurgeRequest): Promise<number> {
    const { prefix, olderThan } = purgeRequestOf(request);
    for (let all = 0; ;) {
      const { purged, isLast } = await this.locks.run('purge', (locks) =>
        commands.purge(locks, prefix, olderThan),
      );
      all += purged;
      if (isLast) return all;
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

  /** Changes one document if it fits the filter. Resolves to whether a document fitted. */
  private async change(
    doing: string,
    filter: Document,
    changes: Document[],
    limits: { timeout?: number | undefined; owners?: readonly string[] } = {},
  ): Promise<boolean> {
    const result = await this.locks.run(
      doing,
      ({ collection, write }) => collection.updateOne(filter, changes, write),
      limits,
    );
    return result.matchedCount === 1;
  }
}
