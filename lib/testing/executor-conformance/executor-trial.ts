import { strict as assert } from 'node:assert';
import { randomBytes, randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { LockError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../../stores/shared/operation-limit.js';
import type { Answer, SqlConnections } from '../../stores/sql/lock-statements.js';
import { Mysql2Driver, type Mysql2Connection } from '../../stores/sql/mysql/mysql2-driver.js';
import { PooledConnections } from '../../stores/sql/pooled-connections.js';
import { PgDriver, type PgClient } from '../../stores/sql/postgres/pg-driver.js';
import type { DriverExecutor, SqlExecutor } from '../../stores/sql/sql-executor.js';
import { SqlLockStore } from '../../stores/sql/sql-lock.store.js';
import type { SqlStoreOptions } from '../../stores/sql/sql-store.options.js';
import { sourceOf } from '../../stores/sql/sqlite/sqlite-client.js';
import { SqliteOwnConnection } from '../../stores/sql/sqlite/sqlite-connection.js';
import { StatementConnections } from '../../stores/sql/statement-connections.js';

/**
 * What one case needs: executors, and the client for which they were written, as an
 * application has it. Each case gets a trial of its own, but trials may share a client.
 *
 * @publicApi
 */
export interface SqlExecutorTrial<Transaction = unknown> {
  /** A fresh executor on the client. The case closes it. */
  executor: SqlExecutor<Transaction>;
  /**
   * A fresh executor on another client of the same database, such as `fromPg(pool)`. It plays
   * another process, and sees only what was committed. The case closes it.
   */
  other: SqlExecutor;
  /**
   * Runs a statement without values, as the application does: through the client, or in the
   * transaction, if one is given.
   */
  query(sql: string, transaction?: Transaction): Promise<unknown>;
  /**
   * Begins a transaction as the application does; commits when `work` resolves, and rolls back
   * and rejects when it rejects.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  /**
   * Begins a transaction inside another, mostly with a savepoint, and ends it as `transaction`
   * does.
   */
  nested?:
    (<T>(transaction: Transaction, work: (nested: Transaction) => Promise<T>) => Promise<T>) | undefined;
  /**
   * Leaves connections of the client in an open transaction, as an application does that
   * forgets the COMMIT. May return a function that ends these transactions, for a shared
   * client whose pool keeps the connections.
   */
  leaveDirty?: (() => Promise<void | (() => Promise<void>)>) | undefined;
  /** Runs `work` in a transaction that another client of the same kind begins. */
  foreign?: (<T>(work: (transaction: Transaction) => Promise<T>) => Promise<T>) | undefined;
  /**
   * Values that a caller may mistake for a transaction, such as the client or its pool, by
   * their names.
   */
  notTransactions?: Record<string, unknown> | undefined;
  /** Texts that the description must not show: the user, the password. */
  secrets?: readonly string[] | undefined;
  /** Options of the stores, such as `table`. */
  store?: SqlStoreOptions | undefined;
  /** Closes what was opened only for this case. */
  dispose?: (() => Promise<void>) | undefined;
}

/** The cases of one topic. The name of a property is the title of a case. */
export type ExecutorCases = Record<string, (t: ExecutorTrial) => Promise<void>>;

/** A lease that outlives every case, in milliseconds. */
export const LEASE = 30_000;

interface Grant {
  key: string;
  owner: string;
  token: number;
}

/** One run of a case, with a store on the executor, and a store that plays another process. */
export class ExecutorTrial {
  readonly store: SqlLockStore;
  readonly others: SqlLockStore;
  private connections: SqlConnections | undefined;
  private othersConnections: SqlConnections | undefined;
  private table: string | undefined;
  private readonly tables: string[] = [];
  private touches = 1_000;
  private readonly closing: (() => void)[] = [];

  constructor(readonly given: SqlExecutorTrial) {
    this.store = new SqlLockStore(given.executor, given.store);
    this.others = new SqlLockStore(given.other, given.store);
  }

  key(): string {
    return `conformance:${randomBytes(8).toString('hex')}`;
  }

  /**
   * `false` on SQLite, where a transaction that has written blocks the lock store's writes.
   */
  get writesInTransactions(): boolean {
    return this.given.executor.type !== 'better-sqlite3';
  }

  /** Takes a key that must be free. */
  async take(store = this.store, key = this.key()): Promise<Grant> {
    const owner = randomUUID();
    const result = await store.acquire(key, owner, LEASE);
    assert.ok(result.acquired, `${key} is free, but it was refused: ${show(result)}`);
    return { key, owner, token: result.fencingToken };
  }

  /** Checks that the other client sees the key in this state. */
  async sees(key: string, state: 'held' | 'free', when: string): Promise<void> {
    const found = (await this.others.inspect(key)).state;
    assert.equal(found, state, `${when}, another client must see the key ${state}`);
  }

  /** Runs a statement as the store does, outside of any transaction. */
  async run(sql: string, values?: readonly unknown[]): Promise<Answer> {
    this.connections ??= await this.connect(this.given.executor);
    return this.connections.use(OPERATION_LIMIT, (run) => run(sql, values, 'conformance'));
  }

  /** Runs a statement through the other client. */
  async runElsewhere(sql: string): Promise<Answer> {
    this.othersConnections ??= await this.connect(this.given.other);
    return this.othersConnections.use(OPERATION_LIMIT, (run) => run(sql));
  }

  /**
   * Returns a table of this case, with the columns `id` and `note`. The first call creates it.
   */
  async scratch(): Promise<string> {
    if (this.table) return this.table;
    const table = `conformance_${randomBytes(6).toString('hex')}`;
    await this.runElsewhere(`CREATE TABLE ${table} (id bigint NOT NULL PRIMARY KEY, note varchar(64))`);
    this.dropsInTheEnd(table);
    return (this.table = table);
  }

  dropsInTheEnd(table: string): void {
    this.tables.push(table);
  }

  /** Writes a row as the application does, in its transaction if one is given. */
  async write(id: number, transaction?: unknown): Promise<void> {
    await this.given.query(`INSERT INTO ${await this.scratch()} (id) VALUES (${id})`, transaction);
  }

  /**
   * Reads in a transaction of the application, and writes a row too, except on SQLite.
   *
   * @returns the id of the row
   */
  async touch(transaction: unknown): Promise<number> {
    const id = ++this.touches;
    await this.given.query(`SELECT id FROM ${await this.scratch()}`, transaction);
    if (this.writesInTransactions) await this.write(id, transaction);
    return id;
  }

  /** Returns how many committed rows have this id. */
  async written(id: number): Promise<number> {
    const { rows } = await this.runElsewhere(
      `SELECT count(*) AS n FROM ${await this.scratch()} WHERE id = ${id}`,
    );
    return Number(rows[0]?.n);
  }

  /**
   * Runs the work in a transaction of the application, and rolls it back. Throws if the work
   * fails.
   */
  async rollBack(work: (transaction: unknown) => Promise<void>): Promise<void> {
    const planned = new Error('rolled back by the conformance suite');
    let failure: { error: unknown } | undefined;
    const ended = await failureOf(() =>
      this.given.transaction(async (transaction) => {
        await work(transaction).catch((error: unknown) => (failure = { error }));
        throw planned;
      }),
    );
    if (failure) throw failure.error;
    assert.notEqual(typeof ended, 'string', 'the transaction must reject, since its work rejects');
  }

  /** Returns an optional part of the trial, which this case needs. */
  part<Part extends 'nested' | 'leaveDirty' | 'foreign'>(part: Part): NonNullable<SqlExecutorTrial[Part]> {
    const given: SqlExecutorTrial[Part] = this.given[part];
    assert.ok(
      given,
      `the trial has no ${part}; if the client has none, leave these cases out: { without: ["${part}"] }`,
    );
    return given;
  }

  /** Checks that the work is refused with an error of this library. */
  async refuses(what: string, work: () => Promise<unknown>): Promise<LockError> {
    const refusal = await failureOf(work);
    assert.ok(
      refusal instanceof LockError,
      `${what} must be refused with a LockError, but: ${show(refusal)}`,
    );
    return refusal;
  }

  async close(): Promise<void> {
    for (const table of this.tables) await this.runElsewhere(`DROP TABLE IF EXISTS ${table}`);
    for (const close of this.closing) close();
    const closed = await Promise.allSettled([this.store.close(), this.others.close()]);
    // A store that was never opened does not close its executor.
    await this.given.executor.close();
    await this.given.other.close();
    await this.given.dispose?.();
    for (const end of closed) if (end.status === 'rejected') throw end.reason;
  }

  private async connect(executor: SqlExecutor): Promise<SqlConnections> {
    if (executor.type === 'better-sqlite3') {
      const own = await SqliteOwnConnection.open('borrow' in executor ? executor : await sourceOf(executor), {
        weak: false,
      });
      this.closing.push(() => own.close());
      return own;
    }
    if (!('borrow' in executor)) return new StatementConnections(executor);
    return executor.type === 'postgres'
      ? new PooledConnections(executor as DriverExecutor<PgClient>, new PgDriver({ named: false }))
      : new PooledConnections(executor as DriverExecutor<Mysql2Connection>, new Mysql2Driver());
  }
}

/** Returns the error of the work, or a text which says that the work did not reject. */
export async function failureOf(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return `no error, but ${show(await work())}`;
  } catch (error) {
    return error;
  }
}

/** Shows everything in a value that a logger would print. */
export function show(value: unknown): string {
  return inspect(value, { depth: null, maxArrayLength: null, maxStringLength: null });
}
