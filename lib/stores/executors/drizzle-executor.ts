import { LockError } from '../../lock.errors.js';
import { kindOf } from '../sql/client-kinds.js';
import type {
  BorrowedConnection,
  BorrowedTransaction,
  DriverExecutor,
  SqliteFile,
} from '../sql/sql-executor.js';
import { fromBetterSqlite3 } from './better-sqlite3-executor.js';
import { fromMysql2 } from './mysql2-executor.js';
import { NoOpenTransactionError } from './no-open-transaction.error.js';
import { fromPg } from './pg-executor.js';

const NEEDED = 'an open transaction of Drizzle, as db.transaction() hands it out';

/** The members of a Drizzle database that the executor uses. @publicApi */
export interface DrizzleDatabase {
  transaction(work: never, config?: never): unknown;
}

/**
 * The transaction object of a Drizzle database, as `db.transaction()` hands it out; `never`
 * where transactions are synchronous, as on better-sqlite3.
 *
 * @publicApi
 */
export type DrizzleTransactionOf<Database> = Database extends {
  transaction(work: infer Work, config?: never): unknown;
}
  ? Work extends (transaction: infer Transaction, config?: never) => infer Result
    ? unknown extends Result
      ? never
      : Transaction
    : never
  : never;

/**
 * Drizzle's session. The session of a database uses the driver's pool, and the session of a
 * transaction uses the client of the transaction.
 */
interface Session {
  client: unknown;
  transaction(work: (transaction: Transaction) => Promise<unknown>): Promise<unknown>;
}

/**
 * The members of a Drizzle transaction that the executor uses. A nested transaction has the
 * session of the outer transaction.
 */
interface Transaction {
  readonly session: Session;
  rollback(): never;
}

/** The symbol under which each Drizzle class keeps its name, in every copy of the package. */
const ENTITY_KIND = Symbol.for('drizzle:entityKind');

/**
 * The executor for each class of Drizzle session, and the driver object that the session must
 * have.
 */
const DRIVERS = new Map<unknown, { needs: string; from: (client: never) => DriverExecutor }>([
  ['NodePgSession', { needs: 'a pool of pg', from: fromPg }],
  ['MySql2Session', { needs: 'a pool of mysql2', from: fromMysql2 }],
  ['BetterSQLiteSession', { needs: 'a database of better-sqlite3', from: fromBetterSqlite3 }],
]);

/**
 * Runs SQL through a Drizzle database on node-postgres, mysql2 or better-sqlite3, on the
 * connections of its driver. `lock.transaction()` hands out a transaction of Drizzle, and
 * `lock.guard()` takes such an object, even inside another transaction. Neither method exists
 * on better-sqlite3, where transactions are synchronous. The store does not close the pool,
 * which belongs to the application.
 *
 * @throws LockError for anything but a Drizzle database, and for a database on another driver
 * or on a single connection
 * @publicApi
 */
export function fromDrizzle<Database extends DrizzleDatabase>(
  db: Database,
): DriverExecutor<unknown, DrizzleTransactionOf<Database>> {
  const { session } = Object(db) as { session?: Session };
  const driver = kindOfSession(session);
  if (!session || driver === undefined || isTransaction(db))
    throw new LockError(
      `fromDrizzle() needs a Drizzle database, but it got ${kindOf(db)}. Pass the result of drizzle(pool) of drizzle-orm/node-postgres, /mysql2 or /better-sqlite3.`,
    );
  const supported = DRIVERS.get(driver);
  if (!supported)
    throw new LockError(
      `fromDrizzle() supports Drizzle on node-postgres, mysql2 and better-sqlite3, but this database is on another driver (${driver.replace('Session', '')}). For the locks, open a pool of pg, mysql2 or better-sqlite3 to the same database, and pass it to fromPg(), fromMysql2() or fromBetterSqlite3().`,
    );
  const kind = kindOf(session.client);
  if (kind !== supported.needs)
    throw new LockError(
      `fromDrizzle() needs a Drizzle database on ${supported.needs}, but the database is on ${kind}. On a single connection, the locks would join the application's transactions, whose rollback would undo them. Pass a pool to drizzle().`,
    );
  return new DrizzleExecutor(
    session,
    supported.from(session.client as never),
  ) as DriverExecutor as DriverExecutor<unknown, DrizzleTransactionOf<Database>>;
}

class DrizzleExecutor implements DriverExecutor<unknown, Transaction> {
  readonly client = 'Drizzle';
  readonly type: string;
  readonly hasSynchronousTransactions: true | undefined;

  constructor(
    private readonly session: Session,
    private readonly driver: DriverExecutor,
  ) {
    this.type = driver.type;
    this.hasSynchronousTransactions = driver.hasSynchronousTransactions;
  }

  get description(): string {
    return this.driver.description;
  }

  get schema(): string | undefined {
    return this.driver.schema;
  }

  get sqlite(): SqliteFile | undefined {
    return this.driver.sqlite;
  }

  get poolSize(): number {
    return this.driver.poolSize;
  }

  async borrow(): Promise<BorrowedConnection<unknown, Transaction>> {
    const borrowed = await this.driver.borrow();
    const { connection, own } = borrowed;
    return {
      connection,
      own: own && new OwnTransaction(this.session, own),
      release: () => borrowed.release(),
    };
  }

  opensNew(): boolean | undefined {
    return this.driver.opensNew();
  }

  createConnection(settings: object): Promise<unknown> {
    return this.driver.createConnection(settings);
  }

  async connectionOf(transaction: unknown, doing: string): Promise<unknown> {
    if (!isTransaction(transaction) || kindOfSession(transaction.session) !== kindOfSession(this.session))
      throw new NoOpenTransactionError(doing, NEEDED, `it got ${kindOf(transaction)}`);
    try {
      return await this.driver.connectionOf(transaction.session.client, doing);
    } catch (error) {
      if (!(error instanceof NoOpenTransactionError)) throw error;
      throw new NoOpenTransactionError(
        doing,
        NEEDED,
        'the transaction has ended, or belongs to another database than the locks. Use a transaction of the database that fromDrizzle() got',
        error,
      );
    }
  }

  watchTransaction(transaction: unknown): () => boolean {
    if (!isTransaction(transaction)) return () => false;
    return this.driver.watchTransaction(transaction.session.client);
  }

  close(): Promise<void> {
    return this.driver.close();
  }
}

/**
 * A transaction that the driver's executor begins and ends, and the Drizzle object that stands
 * for it.
 */
class OwnTransaction implements BorrowedTransaction<Transaction> {
  /** A copy of the database's session that uses the connection of the transaction. */
  private readonly session: Session;
  private made: Transaction | undefined;

  constructor(
    session: Session,
    private readonly driver: BorrowedTransaction,
  ) {
    this.session = Object.create(session, { client: { value: SILENT, writable: true } }) as Session;
  }

  get transaction(): Transaction {
    return this.made as Transaction; // begin() has set `made`
  }

  async begin(level?: 'READ COMMITTED'): Promise<void> {
    await this.driver.begin(level);
    this.made = await this.makeTransaction();
    this.session.client = this.driver.transaction;
  }

  async commit(): Promise<void> {
    this.session.client = ENDED;
    await this.driver.commit();
  }

  async rollback(): Promise<void> {
    this.session.client = ENDED;
    await this.driver.rollback();
  }

  /**
   * Makes Drizzle's transaction object. Drizzle makes it only when it begins a transaction
   * itself, so its BEGIN and COMMIT go to a client that sends nothing.
   */
  private async makeTransaction(): Promise<Transaction | undefined> {
    let made: Transaction | undefined;
    await this.session.transaction(async (transaction) => void (made = transaction));
    return made;
  }
}

/** Replaces the driver's client while Drizzle makes its transaction object. */
const SILENT = { query: async () => [{}] };

/** Replaces the driver's client after the commit or the rollback. */
const ENDED = {
  query: async () => {
    throw new LockError(
      'The transaction of lock.transaction() has ended. Await each statement within the function that you pass to it.',
    );
  },
};

/** The name of a session's class, such as `NodePgSession`. */
function kindOfSession(session: unknown): string | undefined {
  const { [ENTITY_KIND]: kind } = Object((Object(session) as object).constructor) as Record<symbol, unknown>;
  return typeof kind === 'string' ? kind : undefined;
}

function isTransaction(value: unknown): value is Transaction {
  const { session, rollback } = Object(value) as Partial<Transaction>;
  return kindOfSession(session) !== undefined && typeof rollback === 'function';
}
