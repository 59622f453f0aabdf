import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import type { LockInspection, LockPage } from '../../interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  BatchRenewer,
  LeaseRenewal,
  ListRequest,
  LockAcquireResult,
  LockInspector,
  LockStore,
  ReleaseRequest,
  RenewalOutcome,
  StoreDescription,
  StoreLifecycle,
} from '../../interfaces/lock-store.interface.js';
import { fitKey } from '../../lock-key.js';
import { LockStoreError } from '../../lock.errors.js';
import { describeDataSource } from './data-source.description.js';
import type { DataSourceSource } from './data-source.source.js';
import { assertPage, identityOf, labelOf, leaseOf, limitOf, milliseconds } from './lease-arguments.js';
import { openLockDatabase } from './lock-database.js';
import {
  OPERATION_LIMIT,
  type Change,
  type LockDatabase,
  type LockDialect,
  type Run,
} from './lock-dialect.js';
import { inspectionOf, recordOf } from './lock-row.js';
import { createTable, type LockTableDatabase } from './lock-table.ddl.js';
import { prepareTable } from './lock-table.js';
import { CollisionError, storeFailure } from './store-failure.js';
import {
  nameOf,
  readStoreOptions,
  readTable,
  type LockTable,
  type LockTableOptions,
  type TypeOrmLockStoreOptions,
} from './typeorm-store.options.js';

interface OpenedStore extends LockDatabase {
  dataSource: DataSource;
  /** The database, for people, in messages. */
  target: string;
}

const BATCH = 500; // much larger ones stall other writers
const ROW_PATIENCE = 1_000;

/**
 * Keeps locks as rows of a table in PostgreSQL (12 or newer), MySQL (5.6), MariaDB (10.3) or SQLite (3.35), through a TypeORM DataSource.
 *
 * Each operation is decided by one atomic statement and the database's clock, on a connection that is borrowed from the DataSource's pool for
 * it: it does not join the caller's transaction, and none is kept in between. An acquisition or renewal that is not answered within a third of
 * its ttl, anything that is not answered within 10 s, fails with a transient {@link LockStoreError}.
 *
 * A DataSource that was handed in is never closed. The first operation opens the store if `prepare` has not.
 *
 * @publicApi
 */
export class TypeOrmLockStore
  implements LockStore, BatchRenewer, LockInspector, StoreLifecycle, StoreDescription
{
  private readonly source: DataSourceSource;
  private readonly table: LockTable;
  private readonly autoCreate: boolean;
  private opening: Promise<OpenedStore> | undefined;
  private kind = 'typeorm';
  private closed = false;

  /** @throws LockError for an option that does not exist or is not valid */
  constructor(dataSource: DataSource | DataSourceSource, options: TypeOrmLockStoreOptions = {}) {
    const { table, autoCreate } = readStoreOptions(options);
    this.table = table;
    this.autoCreate = autoCreate;
    this.source =
      'open' in dataSource ? dataSource : { open: async () => dataSource, close: async () => undefined };
  }

  /**
   * The statement that creates the table, to run by hand; `lockTableMigration` runs the same.
   *
   * @throws LockError for a name that is not a plain identifier, or a database that has no lock table
   */
  static ddl(type: LockTableDatabase, options: LockTableOptions = {}): string {
    return createTable(type, readTable(options));
  }

  async prepare(): Promise<void> {
    this.closed = false;
    await this.opened();
  }

  async close(): Promise<void> {
    this.closed = true;
    const opened = await this.opening?.catch(() => undefined);
    this.opening = undefined;
    await opened?.sessions.close();
    if (opened) await this.source.close(opened.dataSource);
  }

  describe(): string {
    return `store=${this.kind} table=${nameOf(this.table)}`;
  }

  async acquire(
    key: string,
    owner: string,
    ttl: number,
    request: AcquireRequest = {},
  ): Promise<LockAcquireResult> {
    const lease = leaseOf(key, owner, ttl);
    const attempt = { ...lease, label: labelOf(request.label), resend: request.resend === true };
    const collided = { acquired: false, reason: 'contention' } as const;
    return unlessCollided(
      this.operate(`acquire "${key}"`, limitOf(ttl), (dialect, run) => dialect.acquire(run, attempt)),
      collided,
    );
  }

  async renew(key: string, owner: string, ttl: number): Promise<boolean> {
    const lease = leaseOf(key, owner, ttl);
    return this.change(`renew "${key}"`, limitOf(ttl), (dialect, run) => dialect.renew(run, lease));
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const { keepFor = 0, outcome = 'done' } = end;
    const kept = keepFor === 0 ? 0 : milliseconds('keepFor', keepFor);
    const ending = { ...identityOf(key, owner), keepFor: kept, outcome };
    return this.change(`release "${key}"`, OPERATION_LIMIT, (dialect, run) => dialect.release(run, ending));
  }

  /** Renews in batches of 500, which collide with nobody for long. */
  async renewMany(leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    const all = leases.map(({ key, owner, ttl }) => leaseOf(key, owner, ttl));
    const outcomes: RenewalOutcome[] = [];
    for (let start = 0; start < all.length; start += BATCH) {
      const batch = all.slice(start, start + BATCH);
      const limit = Math.min(...batch.map(({ ttl }) => limitOf(ttl)));
      const collided = batch.map((): RenewalOutcome => 'unknown');
      const renewals = this.operate(`renew ${batch.length} locks`, limit, (dialect, run) =>
        dialect.renewMany(run, batch),
      );
      outcomes.push(...(await unlessCollided(renewals, collided)));
    }
    return outcomes;
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = fitKey(key);
    const row = await this.operate(`inspect "${key}"`, OPERATION_LIMIT, (dialect, run) =>
      dialect.find(run, stored),
    );
    return inspectionOf(stored, row);
  }

  async list(request: ListRequest): Promise<LockPage> {
    assertPage(request);
    const { prefix = '', after = '', limit } = request;
    const page = { prefix, after, limit: limit + 1 }; // the one more tells whether there is a next page
    const rows = await this.operate('list the locks', OPERATION_LIMIT, (dialect, run) =>
      dialect.list(run, page),
    );
    const locks = rows.slice(0, limit).map(recordOf);
    return rows.length > limit ? { locks, next: locks.at(-1)?.key } : { locks };
  }

  async forceRelease(key: string): Promise<boolean> {
    const stored = fitKey(key);
    return this.change(`force the release of "${key}"`, OPERATION_LIMIT, (dialect, run) =>
      dialect.forceRelease(run, stored),
    );
  }

  /** Asks again about a row that was locked, for a second, with growing pauses in which no connection is held. */
  private async change(
    doing: string,
    limit: number,
    work: (dialect: LockDialect, run: Run) => Promise<Change>,
  ): Promise<boolean> {
    const deadline = performance.now() + Math.min(limit, ROW_PATIENCE);
    for (let pause = 10; ; pause *= 2) {
      const change = await unlessCollided<Change>(this.operate(doing, limit, work), 'locked');
      if (change !== 'locked') return change === 'done';
      const left = deadline - performance.now();
      if (left <= 0) throw new CollisionError(doing, (await this.opened()).target);
      await sleep(Math.min(left, pause * (0.5 + Math.random() / 2)));
    }
  }

  private async operate<T>(
    doing: string,
    limit: number,
    work: (dialect: LockDialect, run: Run) => Promise<T>,
  ): Promise<T> {
    if (this.closed)
      throw new LockStoreError(`Could not ${doing}: the lock store (${this.describe()}) is closed.`);
    const { sessions, dialect, target } = await this.opened();
    try {
      return await sessions.use(limit, (run) => work(dialect, run));
    } catch (error) {
      throw storeFailure(error, doing, target);
    }
  }

  private opened(): Promise<OpenedStore> {
    this.opening ??= this.open().catch((error: unknown) => {
      this.opening = undefined; // the next call tries again
      throw error;
    });
    return this.opening;
  }

  private async open(): Promise<OpenedStore> {
    const dataSource = await this.source.open();
    const target = describeDataSource(dataSource.options);
    let database: LockDatabase | undefined;
    try {
      database = await openLockDatabase(dataSource, this.table);
      await prepareTable(database, this.table, this.autoCreate);
      this.kind = database.kind;
      return { ...database, dataSource, target };
    } catch (error) {
      await database?.sessions.close();
      await this.source.close(dataSource);
      throw storeFailure(error, `open the lock store (table ${nameOf(this.table)})`, target);
    }
  }
}

async function unlessCollided<T>(work: Promise<T>, collided: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof CollisionError) return collided;
    throw error;
  }
}
