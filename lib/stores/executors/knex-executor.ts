import { LockError } from '../../lock.errors.js';
import { kindOf } from '../sql/client-kinds.js';
import type {
  BorrowedConnection,
  BorrowedTransaction,
  DriverExecutor,
  SqliteFile,
} from '../sql/sql-executor.js';
import { endedConnection, failedTransaction, NoOpenTransactionError } from './no-open-transaction.error.js';
import { rolledBack } from './pg-executor.js';
import {
  assertOpenPool,
  assertSupportedDatabase,
  KnexPool,
  type KnexClient,
  type KnexConnection,
} from './knex-pool.js';

const NEEDED = 'an open transaction of Knex, as knex.transaction() hands it out';

/** The members of a Knex instance that the executor uses. @publicApi */
export interface KnexInstance {
  readonly client: unknown;
  transactionProvider(): () => Promise<unknown>;
}

/** The transaction object of a Knex instance: `Knex.Transaction`. @publicApi */
export type KnexTransactionOf<Instance> = Instance extends {
  transactionProvider(): () => Promise<infer Transaction>;
}
  ? Transaction
  : never;

/** The members of Knex that the executor uses. */
interface Knex {
  readonly client: KnexClient;
  readonly isTransaction?: boolean;
  transaction(config: { connection: unknown; isolationLevel?: string }): Promise<Transaction>;
}

/** The members of a Knex transaction that the executor uses. */
interface Transaction extends Knex {
  readonly executionPromise: Promise<unknown>;
  /** The transaction around a nested transaction, from Knex 3.1 on. */
  readonly parentTransaction?: Transaction | undefined;
  isCompleted(): boolean;
  commit(): Promise<{ response?: { command?: string } } | undefined>;
  rollback(): Promise<unknown>;
}

/**
 * Runs SQL through a Knex instance with the client `pg`, `mysql2` or `better-sqlite3`, on the
 * connections of its pool. `lock.transaction()` hands out a `Knex.Transaction`, and
 * `lock.guard()` takes such a transaction, even inside another transaction. The store does not
 * destroy the Knex instance, which belongs to the application.
 *
 * @throws LockError for anything but a Knex instance with one of these clients
 * @publicApi
 */
export function fromKnex<Instance extends KnexInstance>(
  knex: Instance,
): DriverExecutor<unknown, KnexTransactionOf<Instance>> {
  const given = Object(knex) as Partial<Knex>;
  const { client } = given;
  if (!client || given.isTransaction || typeof given.transaction !== 'function')
    throw new LockError(
      `fromKnex() needs a Knex instance, but it got ${kindOf(knex)}. Pass the result of knex({ client: 'pg', connection }).`,
    );
  assertSupportedDatabase('fromKnex()', client);
  assertOpenPool(client);
  return new KnexExecutor(knex as unknown as Knex) as DriverExecutor as DriverExecutor<
    unknown,
    KnexTransactionOf<Instance>
  >;
}

class KnexExecutor implements DriverExecutor<KnexConnection, Transaction> {
  readonly client = 'Knex';
  private readonly pool: KnexPool;

  constructor(private readonly knex: Knex) {
    this.pool = new KnexPool(knex.client);
  }

  get type(): string {
    return this.pool.type;
  }

  get description(): string {
    return this.pool.description;
  }

  get schema(): string | undefined {
    return this.pool.schema;
  }

  get poolSize(): number {
    return this.pool.size;
  }

  get sqlite(): SqliteFile | undefined {
    return this.pool.sqlite;
  }

  async borrow(): Promise<BorrowedConnection<KnexConnection, Transaction>> {
    const connection = await this.pool.borrow();
    return {
      connection,
      own: new OwnTransaction(this.knex, connection),
      release: () => this.pool.release(connection),
    };
  }

  opensNew(): boolean | undefined {
    return this.pool.opensNew();
  }

  createConnection(settings: object): Promise<KnexConnection> {
    return this.pool.createConnection(settings);
  }

  async connectionOf(transaction: unknown, doing: string): Promise<KnexConnection> {
    const refused = (found: string) => new NoOpenTransactionError(doing, NEEDED, found);
    if (!isTransaction(transaction)) throw refused(`it got ${kindOf(transaction)}`);
    if (transaction.isCompleted()) throw refused('the transaction was already committed or rolled back');
    const connection = (await transaction.client.acquireConnection()) as KnexConnection;
    if (this.pool.hasEnded(connection)) throw endedConnection(doing);
    const state = await this.pool.stateOf(connection);
    if (state === 'aborted') throw failedTransaction(doing);
    if (state === 'none')
      throw refused(
        'the server has already ended it. Look for COMMIT or ROLLBACK as text, and on MySQL and MariaDB for statements that commit, such as CREATE TABLE',
      );
    if (await this.pool.lends(connection, doing)) return connection;
    throw refused(
      'the transaction belongs to another Knex instance than the locks. Use the instance that fromKnex() got',
    );
  }

  /**
   * Watches the outermost transaction, since the row of the lock stays locked until the
   * outermost transaction ends.
   */
  watchTransaction(transaction: unknown): () => boolean {
    if (!isTransaction(transaction)) return () => false;
    let outermost = transaction;
    while (outermost.parentTransaction) outermost = outermost.parentTransaction;
    let isBroken = false;
    void outermost.executionPromise.catch(() => (isBroken = true));
    return () => !isBroken && !outermost.isCompleted();
  }

  async close(): Promise<void> {}
}

/** A transaction of Knex on a connection that was borrowed for it. */
class OwnTransaction implements BorrowedTransaction<Transaction> {
  private begun: Transaction | undefined;

  constructor(
    private readonly knex: Knex,
    private readonly connection: KnexConnection,
  ) {}

  get transaction(): Transaction {
    return this.begun as Transaction; // begin() has set `begun`
  }

  async begin(level?: 'READ COMMITTED'): Promise<void> {
    const { connection } = this;
    const isolationLevel = level?.toLowerCase();
    const begun = await this.knex.transaction({ connection, ...(isolationLevel && { isolationLevel }) });
    // Knex returns a transaction even if its BEGIN has failed; `executionPromise` then
    // rejects.
    if (begun.isCompleted()) await begun.executionPromise;
    this.begun = begun;
  }

  /** Waits for `executionPromise`, since `commit()` resolves even if the COMMIT has failed. */
  async commit(): Promise<void> {
    const { begun } = this;
    const sent = begun?.isCompleted() ? undefined : await begun?.commit();
    await begun?.executionPromise;
    if (sent?.response?.command === 'ROLLBACK') throw rolledBack();
  }

  async rollback(): Promise<void> {
    const { begun, connection } = this;
    if (!begun?.isCompleted()) await begun?.rollback();
    await begun?.executionPromise;
    // On better-sqlite3, the application may have begun another transaction on the connection.
    if (connection.inTransaction) connection.exec?.('ROLLBACK');
  }
}

function isTransaction(value: unknown): value is Transaction {
  const { isTransaction: is, isCompleted } = Object(value) as Partial<Transaction>;
  return is === true && typeof isCompleted === 'function';
}
