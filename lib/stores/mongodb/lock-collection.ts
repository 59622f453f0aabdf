import type { Collection } from 'mongodb';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { Opening } from '../shared/opening.js';
import { TimeLimit } from '../shared/time-limit.js';
import type { CollectionHandle } from './collection.handle.js';
import type { LockDocument } from './lock-document.js';
import { storeFailure } from './mongo-failure.js';
import type { StoreSettings } from './mongo-store.options.js';
import { openCollection, type OpenCollection } from './open-collection.js';
import { optionsFor, type OperationOptions } from './operation-options.js';

type Work<T> = (
  collection: Collection<LockDocument>,
  options: OperationOptions,
  open: OpenCollection,
) => Promise<T>;

/** Runs operations on the collection that keeps the locks; opens it before the first one. Whatever fails is one of our errors. */
export class LockCollection {
  private readonly opening: Opening<OpenCollection>;
  /** The collection's name, as soon as it is known. */
  name: string | undefined;

  constructor(
    private readonly handle: CollectionHandle,
    private readonly settings: StoreSettings,
  ) {
    this.opening = new Opening(
      async () => {
        const opened = await openCollection(handle, settings);
        this.name = opened.collection.collectionName;
        return opened;
      },
      ({ collection }) => handle.isCurrent?.(collection) ?? true,
    );
  }

  async open(): Promise<void> {
    await this.opening.start();
  }

  async close(): Promise<void> {
    const opened = await this.opening.close();
    if (opened) await this.handle.close(opened.collection);
  }

  /**
   * @param doing for messages, such as `acquire "nightly-report"`
   * @param limit milliseconds
   * @param owners the owner ids that the work uses, which no error may show
   */
  async run<T>(doing: string, limit: number, work: Work<T>, owners: readonly string[] = []): Promise<T> {
    const timeLimit = new TimeLimit(limit);
    const abandoned = new AbortController();
    let target = 'MongoDB';
    try {
      const opened = await timeLimit.race(this.opening.get(doing));
      target = opened.target;
      return await timeLimit.race(
        work(opened.collection, optionsFor(this.settings, limit, abandoned.signal), opened),
      );
    } catch (error) {
      abandoned.abort(); // or the driver sends it again when there is a primary, be it a minute later
      if (this.opening.closed && !(error instanceof LockError))
        throw new LockStoreError(`Could not ${doing}: the lock store was closed meanwhile.`, {
          cause: safeError(error, owners),
          transient: true,
        });
      throw storeFailure(error, doing, target, owners);
    } finally {
      timeLimit.end();
    }
  }

  /** The open collection, for what takes longer than an operation: transactions. */
  async opened(doing: string): Promise<OpenCollection> {
    return this.opening.get(doing);
  }
}
