import type { DataSource, QueryRunner } from 'typeorm';
import { LockError, LockStoreError } from '../../../lock.errors.js';

/** What is used of an EntityManager; its DataSource was called `connection` before TypeORM 1. */
interface Manager {
  queryRunner?: QueryRunner;
  dataSource?: DataSource;
  connection?: DataSource;
}

/** Gives a function that reports whether the transaction of an EntityManager is still open. */
export function watchTransaction(manager: unknown): () => boolean {
  const { queryRunner } = Object(manager) as Manager;
  return () => queryRunner?.isTransactionActive === true && !queryRunner.isReleased;
}

/**
 * The query runner of the transaction that an EntityManager works in.
 *
 * @param doing for messages, such as `guard "nightly-report" in a transaction`
 * @throws LockError unless the transaction is open, and one of this DataSource
 * @throws LockStoreError when its connection was lost
 */
export function runnerOf(manager: unknown, dataSource: DataSource, doing: string): QueryRunner {
  const { queryRunner, dataSource: own, connection: former } = Object(manager) as Manager;
  if (!queryRunner?.isTransactionActive)
    throw new LockError(
      `Could not ${doing}: it needs the EntityManager of an open transaction, as dataSource.transaction() hands it out. With the store's own, use lock.transaction().`,
    );
  if ((own ?? former) !== dataSource)
    throw new LockError(
      `Could not ${doing}: the EntityManager belongs to another DataSource than the locks. Let typeOrmStore() use that one, by its name in the option dataSource and without connection, or use lock.transaction().`,
    );
  if (queryRunner.isReleased)
    throw new LockStoreError(`Could not ${doing}: the connection of the transaction has ended.`, {
      transient: true,
    });
  return queryRunner;
}
