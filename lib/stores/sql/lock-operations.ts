import { setTimeout as sleep } from 'node:timers/promises';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { Opening } from '../shared/opening.js';
import { openLockDatabase } from './lock-database.js';
import type {
  ChangeResult,
  GuardRequest,
  LockDatabase,
  OnReleased,
  ProcessWakeUps,
  Run,
} from './lock-statements.js';
import { prepareTable } from './lock-table.js';
import { warnOfLostCommits } from './lost-commits.js';
import type { OpenExecutor, SqlExecutor, Warn } from './sql-executor.js';
import type { SqlStoreSettings } from './sql-store.options.js';
import {
  CollisionError,
  isDenied,
  isMissingTable,
  storeFailure,
  transactionFailure,
} from './store-failure.js';
import { assertRights, missingRight } from './table-rights.js';
import { replaceTable } from './vanished-table.js';
import { NEVER } from './lock-row.js';
import { nameOf, type LockTable } from './lock-table.ddl.js';

/** A lock database that is in use. */
export interface OpenDatabase extends LockDatabase {
  executor: SqlExecutor;
  wakeUps: ProcessWakeUps | undefined;
}

/**
 * The work of an operation on a connection of its own.
 *
 * @param before its result on the connection before, see {@link LockSessions}
 */
type Work<T> = (database: OpenDatabase, run: Run, before: T | undefined) => Promise<T>;

/** Milliseconds for which a row that another session has locked is asked again. */
const ROW_PATIENCE = 1_000;
/** Short enough to find a key free for a moment that many acquire and release in turn. */
const LONGEST_PAUSE = 40;

/** Runs operations on the lock table; opens the database before the first one. Whatever fails is one of our errors. */
export class LockOperations {
  private readonly opening = new Opening(() => this.openDatabase());
  /** The kind of database, as soon as it is known. */
  kind = 'typeorm';
  /** With its schema, as soon as that is known. */
  table: LockTable;
  /** The longest finite ttl of this process's settings and calls so far, in milliseconds. */
  longestTtl = 0;
  private executor: SqlExecutor | undefined;
  private vanished = false;
  private replacing: Promise<void> | undefined;
  /** How processes are notified, as soon as the database is open. */
  wakeUps: ProcessWakeUps | undefined;

  constructor(
    private readonly openExecutor: OpenExecutor,
    private readonly settings: SqlStoreSettings,
    private readonly onReleased: OnReleased,
    private readonly warn: Warn = () => undefined,
  ) {
    this.table = settings.table;
  }

  async open(): Promise<void> {
    await this.opening.start();
    const database = await this.opening.get('open it');
    try {
      await assertRights(database);
    } catch (error) {
      throw storeFailure(error, `write to the table ${nameOf(this.table)}`, database.executor.description);
    }
  }

  async close(): Promise<void> {
    const database = await this.opening.close();
    await database?.wakeUps?.close();
    await database?.sessions.close();
    await database?.executor.close();
  }

  /**
   * @param doing for messages, such as `acquire "nightly-report"`
   * @param limit milliseconds
   * @param owners the owner ids that the work uses, which no error may show
   * @throws CollisionError when sessions were in each other's way
   */
  async run<T>(doing: string, limit: number, work: Work<T>, owners: readonly string[] = []): Promise<T> {
    const database = await this.opening.get(doing);
    const { sessions, executor } = database;
    const attempt = () => sessions.use<T>(limit, (run, before) => work(database, run, before));
    try {
      if (this.vanished) await this.replace(database);
      return await attempt().catch(async (error: unknown) => {
        if (!isMissingTable(error, database.table.table)) throw error;
        await this.replace(database);
        return attempt();
      });
    } catch (error) {
      throw storeFailure(error, doing, executor.description, owners);
    }
  }

  /**
   * Names a ttl that this process uses. If the table vanishes, holders may still believe in
   * its locks for that time.
   */
  expectTtl(ttl: number): void {
    if (ttl > this.longestTtl && ttl < NEVER) this.longestTtl = Math.ceil(ttl);
  }

  /**
   * Creates the table again after it has vanished. All operations that notice it wait for the
   * same replacement.
   */
  private async replace(database: OpenDatabase): Promise<void> {
    this.vanished = true;
    this.replacing ??= replaceTable(database, this.settings.autoCreate, this.longestTtl, this.warn).finally(
      () => (this.replacing = undefined),
    );
    await this.replacing;
    this.vanished = false;
  }

  /** Changes one row. While it is locked, it is tried again. */
  async change(
    doing: string,
    limit: number,
    work: Work<ChangeResult>,
    owners: readonly string[] = [],
  ): Promise<boolean> {
    return (await this.insist(doing, limit, work, owners)) === 'done';
  }

  /** Tries again, with growing pauses in which no connection is held, what ran into a locked row or collided with other sessions. */
  async insist<T>(
    doing: string,
    limit: number,
    work: Work<T | 'locked'>,
    owners: readonly string[] = [],
  ): Promise<T> {
    const deadline = performance.now() + Math.min(limit, ROW_PATIENCE);
    for (let pause = 10; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      const answer = await unlessCollided<T | 'locked'>(this.run(doing, limit, work, owners), 'locked');
      if (answer !== 'locked') return answer;
      const left = deadline - performance.now();
      if (left <= 0) throw new CollisionError(doing, (await this.opening.get(doing)).executor.description);
      await sleep(Math.min(left, pause * (0.5 + Math.random() / 2)));
    }
  }

  /** Runs `work` in a transaction of its own. What `work` rejects with is rejected as it is. */
  async transaction<T>(work: (transaction: unknown) => Promise<T>): Promise<T> {
    let doing = 'begin a transaction';
    const { transactions, executor } = await this.opening.get(doing);
    let thrown: { error: unknown } | undefined;
    try {
      return await transactions.run(async (transaction) => {
        doing = 'commit a transaction';
        return work(transaction).catch((error: unknown) => {
          thrown = { error };
          throw error;
        });
      });
    } catch (error) {
      throw thrown ? thrown.error : transactionFailure(error, doing, executor.description);
    }
  }

  /** Locks the row until the caller's transaction ends; `false` when the request is not true. */
  async guard(transaction: unknown, request: GuardRequest): Promise<boolean> {
    const doing = `guard "${request.key}" in a transaction`;
    const { executor, transactions, statements } = await this.opening.get(doing);
    const target = executor.description;
    const guarding = await transactions
      .within(transaction, doing, (run) => statements.guard(run, request))
      .catch((error: unknown) => {
        throw storeFailure(error, doing, target, [request.owner]);
      });
    if (guarding === 'snapshot')
      throw new LockError(
        `Could not ${doing}: at its isolation level a renewal since it began would look like a loss. Begin it at READ COMMITTED, or run the work in lock.transaction().`,
      );
    if (guarding === 'changed')
      throw new LockStoreError(
        `Could not ${doing}: in ${target} others have written since the transaction began, as by a renewal of the lock. Run the work in lock.transaction(), which is prepared for that.`,
        { transient: true },
      );
    return guarding === 'held';
  }

  /** Reports whether the caller's transaction, which a guard has used, is still open. */
  watchTransaction(transaction: unknown): () => boolean {
    return this.executor?.watchTransaction(transaction) ?? (() => false);
  }

  private async openDatabase(): Promise<OpenDatabase> {
    const { table, autoCreate } = this.settings;
    const executor = await this.openExecutor();
    let database: LockDatabase | undefined;
    try {
      database = await openLockDatabase(executor, this.settings, this.warn);
      await prepareTable(database, database.table, autoCreate);
      await warnOfLostCommits(database, this.warn);
      this.kind = database.kind;
      this.table = database.kind === 'better-sqlite3' ? table : database.table;
      this.wakeUps = this.settings.wakeUps ? database.openWakeUps?.(this.onReleased) : undefined;
      this.executor = executor;
      return { ...database, executor, wakeUps: this.wakeUps };
    } catch (error) {
      await database?.sessions.close();
      await executor.close();
      const place = database?.table ?? table;
      const failure = isDenied(error) ? missingRight(place, error) : error;
      throw storeFailure(failure, `open the lock store (table ${nameOf(place)})`, executor.description);
    }
  }
}

/** Gives another value in place of a collision. */
export async function unlessCollided<T>(work: Promise<T>, collided: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof CollisionError) return collided;
    throw error;
  }
}
