import type { ClientSession } from 'mongodb';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { identityOf } from '../shared/requests.js';
import { clientOf } from './collection.handle.js';
import type { LockCollection, OpenCollection } from './lock-collection.js';
import { guarding, ownLease } from './lock-updates.js';
import { commitFailure, isWriteConflict, storeFailure, TransactionWriteError } from './mongo-failure.js';
import type { StoreSettings } from './mongo-store.options.js';

/** Ties locks to transactions of their database. */
export class MongoTransactions {
  /** The open transaction of each session that the store has started. */
  private readonly begun = new WeakMap<ClientSession, unknown>();

  constructor(
    private readonly locks: LockCollection,
    private readonly settings: StoreSettings,
  ) {}

  /**
   * Runs `work` in a transaction of the store and commits it. Repeats both after a conflict.
   */
  async run<T>(work: (session: ClientSession) => Promise<T>): Promise<T> {
    const { client, target } = await this.opened('run a transaction');
    // The option `weak` is meant for locks, and must not weaken writes to the application's
    // documents.
    const { w, journal } = this.settings.weak
      ? { w: 'majority' as const, journal: true }
      : this.settings.writeConcern;
    const session = client.startSession();
    let thrown: { error: unknown } | undefined;
    try {
      return await session.withTransaction(
        async () => {
          thrown = undefined; // the error of an earlier attempt no longer counts
          this.begun.set(session, transactionOf(session));
          try {
            return await work(session);
          } catch (error) {
            thrown = { error };
            throw TransactionWriteError.forDriver(error);
          }
        },
        {
          readPreference: 'primary',
          readConcern: { level: 'snapshot' },
          writeConcern: { w, journal },
        },
      );
    } catch (error) {
      throw thrown ? thrown.error : commitFailure(error, target);
    } finally {
      await session.endSession();
    }
  }

  /**
   * Changes the lock inside the transaction of the session, if this owner holds it. Until the
   * transaction ends, an attempt to take the lock conflicts with it or waits for it.
   */
  async guard(
    session: ClientSession,
    lease: { key: string; owner: string; fencingToken: number },
  ): Promise<boolean> {
    const { key, owner } = identityOf(lease.key, lease.owner);
    const doing = `guard "${lease.key}" in a transaction`;
    if (!Number.isSafeInteger(lease.fencingToken))
      throw new LockError(`Could not ${doing}: the fencing token of the lock must be a whole number.`);
    this.assertTransaction(session, await this.opened(doing), doing);

    const filter = { ...ownLease(key, owner), token: { $eq: lease.fencingToken } };
    return this.locks.run(
      doing,
      async ({ collection, write, target }) => {
        // the write concern belongs to the transaction
        const { writeConcern: _, ...options } = write;
        try {
          const { matchedCount } = await collection.updateOne(filter, guarding, { ...options, session });
          return matchedCount === 1;
        } catch (error) {
          const failure = isWriteConflict(error)
            ? new LockStoreError(
                `Could not ${doing}: in ${target} the lock has changed since the transaction began, by a renewal or because it was lost. Run the work in lock.transaction(), which pauses the renewal.`,
                { cause: safeError(error, [owner]), transient: true },
              )
            : storeFailure(error, doing, target, [owner]);
          throw failure instanceof LockStoreError ? new TransactionWriteError(failure, error) : failure;
        }
      },
      { owners: [owner] },
    );
  }

  private async opened(doing: string): Promise<OpenCollection> {
    const opened = await this.locks.opened(doing);
    if (opened.transactions) return opened;
    throw new LockError(
      `Could not ${doing}: ${opened.target} is a standalone server, and only replica sets and sharded clusters have transactions. Start it with --replSet and run rs.initiate(): one member is enough.`,
    );
  }

  private assertTransaction(session: ClientSession, { client }: OpenCollection, doing: string): void {
    if (this.begun.has(session) && this.begun.get(session) !== transactionOf(session))
      throw new LockError(
        `Could not ${doing}: the function that you passed has committed or aborted the transaction, so the guard no longer protects it. Leave commit and abort to lock.transaction().`,
      );
    if (typeof session?.inTransaction !== 'function' || !session.inTransaction())
      throw new LockError(
        `Could not ${doing}: it needs a ClientSession with an open transaction. For a transaction that the store begins, use lock.transaction().`,
      );
    if (clientOf(session) !== client)
      throw new LockError(
        `Could not ${doing}: the session belongs to another client than the locks. Pass that client to the store: mongoStore({ client }), or mongooseStore().`,
      );
  }
}

/** Returns a function that reports whether the session's present transaction is still open. */
export function watchTransaction(session: ClientSession): () => boolean {
  const begun = transactionOf(session);
  return () => begun !== undefined && transactionOf(session) === begun && !session.hasEnded;
}

/**
 * The object that stands for the session's open transaction; `undefined` without a
 * transaction.
 */
function transactionOf(session: ClientSession): unknown {
  return session?.inTransaction?.()
    ? (session as unknown as { transaction?: object }).transaction
    : undefined;
}
