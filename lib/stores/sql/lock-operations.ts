import { setTimeout as sleep } from 'node:timers/promises';
import { LockError } from '../../lock.errors.js';
import type { BatchLimits } from '../shared/batcher.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import { assertGuardable, changedIfStale } from './guard-result.js';
import { openLockDatabase } from './lock-database.js';
import { NEVER } from './lock-row.js';
import type {
  BatchStatements,
  GuardRequest,
  LockDatabase,
  OnReleased,
  ReleaseResult,
  Run,
  SqlTransactions,
} from './lock-statements.js';
import { nameOf, type LockTable } from './lock-table.ddl.js';
import { assertRights, missingRight, prepareTable, TableReplacement } from './lock-table.js';
import { warnOfLostCommits } from './server-checks.js';
import { halfOfPool, type OpenExecutor, type SqlExecutor, type Warn } from './sql-executor.js';
import { SqlOpening, type Operation } from './sql-opening.js';
import type { SqlStoreSettings } from './sql-store.options.js';
import {
  CollisionError,
  isContention,
  isDenied,
  isMissingTable,
  isServerAnswer,
  storeFailure,
  transactionFailure,
  unlessCollided,
} from './store-failure.js';

/**
 * The work of an operation on a connection.
 *
 * @param before the result of the same work on an earlier, unusable connection, see
 * {@link SqlConnections}
 */
type Work<T> = (database: LockDatabase, run: Run, before: T | undefined) => Promise<T>;

/** An operation on the lock table, with its time limit. */
export interface LockOperation extends Operation {
  /**
   * How many milliseconds the operation may take once the database is open. By default 10 s.
   */
  timeout?: number | undefined;
}

/**
 * The results of a batch. Both results are missing if the server refused one of its
 * statements, or a statement collided with other sessions. Then each request is sent again on
 * its own, and finds the lock if the batch has granted it to its owner.
 */
export interface ManyResults<T> {
  results?: T | undefined;
  /**
   * The results of the batch on an earlier, unusable connection. The server has probably
   * rolled them back, but may have committed them.
   */
  before?: T | undefined;
}

/** For how many milliseconds a change is repeated while another session locks its row. */
const ROW_PATIENCE = 1_000;
/**
 * The longest pause between two repetitions in milliseconds. It is short, since a contended
 * key is free only for moments.
 */
const LONGEST_PAUSE = 40;

/** Runs operations on the lock table. The first operation opens the database. */
export class LockOperations {
  /**
   * The longest ttl in the settings and calls of this process so far, in milliseconds.
   * Infinite ttls do not count.
   */
  longestTtl = 0;
  /**
   * The conditions under which requests share statements. `undefined` if each request is sent
   * alone, or while the database is not open.
   */
  batching: BatchLimits | undefined;
  private readonly opening: SqlOpening<LockDatabase>;
  /** The executor that the last opening of the store has opened. */
  private executor: SqlExecutor | undefined;
  private database: LockDatabase | undefined;
  private readonly replacement: TableReplacement;

  constructor(
    openExecutor: OpenExecutor,
    private readonly settings: SqlStoreSettings,
    private readonly onReleased: OnReleased,
    private readonly warn: Warn,
  ) {
    this.replacement = new TableReplacement(settings.autoCreate, warn);
    this.opening = new SqlOpening('open the lock store', openExecutor, (executor) => this.prepare(executor));
  }

  /** The kind of database, such as `postgres`; `sql` while the store is not open. */
  get kind(): string {
    return this.database?.kind ?? 'sql';
  }

  /** The name of the client, such as `TypeORM`; `undefined` while the store is not open. */
  get client(): string | undefined {
    return this.database && this.executor?.client;
  }

  /** The lock table. Its schema is known once the store is open; on SQLite it has none. */
  get table(): LockTable {
    return this.database && this.kind !== 'better-sqlite3' ? this.database.table : this.settings.table;
  }

  /**
   * The features that are missing in the open database or with this client. Without `wakeUps`,
   * waiters poll; without `batches`, leases are renewed one by one.
   */
  get missing(): string[] {
    if (!this.database) return [];
    const { wakeUps, statements } = this.database;
    return [...(wakeUps ? [] : ['wakeUps']), ...(statements.renewMany ? [] : ['batches'])];
  }

  /** The notifications of this database, once it is open; `undefined` if it has none. */
  get wakeUps(): LockDatabase['wakeUps'] {
    return this.database?.wakeUps;
  }

  async open(): Promise<void> {
    await this.opening.start();
    await this.opening.withDatabase({ doing: `write to the table ${nameOf(this.table)}` }, assertRights);
  }

  async close(): Promise<void> {
    await this.opening.close();
  }

  /**
   * Runs an operation. If the table has disappeared or the connection is unusable, the
   * operation is repeated.
   *
   * @throws CollisionError when the operation collided with other sessions
   */
  async run<T>(operation: LockOperation, work: Work<T>): Promise<T> {
    const { timeout = OPERATION_LIMIT } = operation;
    return this.opening.withDatabase(operation, async (database) => {
      const until = performance.now() + timeout;
      const attempt = (limit: number) =>
        database.connections.use<T>(limit, (run, before) => work(database, run, before));
      if (this.replacement.isDue) await this.replacement.make(database, this.longestTtl);
      return attempt(timeout).catch(async (error: unknown) => {
        if (!isMissingTable(error, database.table.table)) throw error;
        await this.replacement.make(database, this.longestTtl);
        return attempt(until - performance.now());
      });
    });
  }

  /**
   * Runs the statements of a batch that serves several callers.
   *
   * @param timeout milliseconds
   * @throws the error of the driver, if the outcome is unknown
   */
  async runForMany<T>(
    doing: string,
    timeout: number,
    work: (statements: BatchStatements, run: Run) => Promise<T>,
  ): Promise<ManyResults<T>> {
    const { database } = await this.opening.get(doing);
    const { batches } = database.statements;
    if (!batches || this.replacement.isDue) return {};
    try {
      return await database.connections.use<ManyResults<T>>(timeout, async (run, before) =>
        before ? { before: before.results ?? before.before } : { results: await work(batches, run) },
      );
    } catch (error) {
      if (isServerAnswer(error) || isContention(error)) return {};
      throw error;
    }
  }

  /** Returns the error for one request of a batch that has failed. */
  failureOf({ doing, owners }: Operation, failure: unknown): unknown {
    return storeFailure(failure, doing, this.executor?.description ?? 'the database', owners);
  }

  /**
   * Notes a ttl that this process uses: if the table disappears, the holder may believe in its
   * lock for that long.
   */
  expectTtl(ttl: number): void {
    if (ttl > this.longestTtl && ttl < NEVER) this.longestTtl = Math.ceil(ttl);
  }

  /**
   * Changes one row. Resolves to `false` if there was no change to make, for example since the
   * lease had expired.
   */
  async change(operation: LockOperation, work: Work<ReleaseResult>): Promise<boolean> {
    return (await this.release(operation, work)) === 'done';
  }

  /**
   * Releases a key. If the first connection was unusable, and the repetition finds nothing to
   * release, the first connection has released the key, so its result counts.
   */
  async release(operation: LockOperation, work: Work<ReleaseResult>): Promise<ReleaseResult> {
    return this.insist<ReleaseResult>(operation, async (database, run, before) => {
      const result = await work(database, run, before);
      return result === 'gone' && before !== undefined && before !== 'locked' ? before : result;
    });
  }

  /**
   * Runs an operation, and repeats it while another session locks the row, or if it collides
   * with other sessions. The pauses grow, and the operation keeps no connection during a
   * pause.
   */
  async insist<T>(operation: LockOperation, work: Work<T | 'locked'>): Promise<T> {
    const { doing, timeout = OPERATION_LIMIT } = operation;
    const startedAt = performance.now();
    const patience = Math.min(ROW_PATIENCE, timeout / 2);
    let limit = timeout;
    for (let pause = 10; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      const attempt = this.run({ ...operation, timeout: limit }, work);
      const result = await unlessCollided<T | 'locked'>(attempt, 'locked');
      if (result !== 'locked') return result;
      const left = startedAt + patience - performance.now();
      if (left <= 0) throw new CollisionError(doing, (await this.opening.get(doing)).executor.description);
      await sleep(Math.min(left, pause * (0.5 + Math.random() / 2)));
      limit = startedAt + timeout - performance.now();
    }
  }

  /**
   * Runs `work` in a transaction that the store begins. Rejects with the error of `work` if
   * that rejects.
   */
  async transaction<T>(work: (transaction: unknown) => Promise<T>, timeout: number): Promise<T> {
    let doing = 'begin a transaction';
    const { database, executor } = await this.opening.get(doing);
    let thrown: { error: unknown } | undefined;
    try {
      return await transactionsOf(database, executor, doing).run(async (transaction) => {
        doing = 'commit a transaction';
        return work(transaction).catch((error: unknown) => {
          thrown = { error };
          throw error;
        });
      }, timeout);
    } catch (error) {
      throw thrown ? thrown.error : transactionFailure(error, doing, executor.description);
    }
  }

  /**
   * Locks the row of the lock until the caller's transaction ends. Resolves to `false` if the
   * lease has expired, belongs to another owner, or has another token.
   */
  async guard(transaction: unknown, request: GuardRequest): Promise<boolean> {
    const doing = `guard "${request.key}" in a transaction`;
    const operation = { doing, owners: [request.owner] };
    return this.opening.withDatabase(operation, async (database, executor) => {
      const { description } = executor;
      const { statements } = database;
      const result = await transactionsOf(database, executor, doing).within(transaction, doing, async (run) =>
        statements.guard(run, request).catch(changedIfStale),
      );
      assertGuardable(result, doing, description);
      return result === 'held';
    });
  }

  /** Returns a function that reports whether the caller's transaction is still open. */
  watchTransaction(transaction: unknown): () => boolean {
    return this.executor?.watchTransaction(transaction) ?? (() => false);
  }

  private async prepare(executor: SqlExecutor): Promise<LockDatabase> {
    let database: LockDatabase | undefined;
    try {
      database = await openLockDatabase(executor, this.settings, this.onReleased, this.warn);
      await prepareTable(database, this.settings.autoCreate);
      await warnOfLostCommits(database, this.warn);
    } catch (error) {
      await database?.close();
      const table = database?.table ?? this.settings.table;
      const failure = isDenied(error) ? missingRight(table, error) : error;
      throw storeFailure(failure, `open the lock store (table ${nameOf(table)})`, executor.description);
    }
    this.executor = executor;
    this.database = database;
    const limits = this.settings.batching ? database.statements.batches?.limits : undefined;
    this.batching = limits && { ...limits, connections: halfOfPool(executor) };
    return database;
  }
}

/**
 * Returns the transactions of the client.
 *
 * @throws LockError if they are synchronous
 */
function transactionsOf(
  { transactions }: LockDatabase,
  { client }: SqlExecutor,
  doing: string,
): SqlTransactions {
  if (transactions) return transactions;
  throw new LockError(
    `Could not ${doing}: the transactions of ${client} are synchronous, but locks are not. Store the fencing token with the data, and let each write compare it.`,
  );
}
