import { LockError } from '../../lock.errors.js';
import { kindOf } from '../sql/client-kinds.js';
import { Mysql2Driver } from '../sql/mysql/mysql2-driver.js';
import { watchMysqlTransaction, type WatchedConnection } from '../sql/mysql/transaction-watch.js';
import type { BorrowedConnection, DriverExecutor } from '../sql/sql-executor.js';
import { endedConnection, NoOpenTransactionError } from './no-open-transaction.error.js';
import { describeServer, type ServerAddress } from './server-description.js';

/** The members of a pool of `mysql2/promise` that the executor uses. @publicApi */
export interface Mysql2PromisePool<Connection = unknown> {
  getConnection(): Promise<Connection>;
}

/** The members of a pool of `mysql2` that the executor uses. @publicApi */
export interface Mysql2Pool<Connection = unknown> {
  getConnection(callback: (error: Error | null, connection: Connection) => unknown): void;
}

/** The members of mysql2's pool that the executor uses and that its types do not show. */
interface Pool {
  getConnection(callback: (error: unknown, connection: PoolConnection) => void): void;
  execute(): void;
  readonly config: { connectionLimit: number; connectionConfig: ServerAddress & object };
  readonly _closed?: boolean;
  readonly _allConnections: Queue;
  readonly _freeConnections: Queue;
}

interface Queue {
  readonly length: number;
  get(index: number): object;
}

/** A connection of the pool. A connection of `mysql2/promise` wraps such a connection. */
type PoolConnection = WatchedConnection & {
  on(event: 'error', listener: () => void): void;
  listeners(event: 'error'): unknown[];
  release(): void;
};

type ConnectionClass = new (options: { config: object }) => PoolConnection;

/** A connection as the application gets it from its pool, wrapped or not. */
interface Lent {
  release(): void;
  connection?: PoolConnection;
}

/**
 * Runs SQL on MySQL and MariaDB through a pool of mysql2, or of `mysql2/promise`.
 * `lock.transaction()` hands out a connection of the same kind as the pool, and `lock.guard()`
 * takes such a connection. The store does not close the pool, which belongs to the
 * application.
 * @throws LockError for anything but an open pool of mysql2
 * @publicApi
 */
export function fromMysql2<Connection>(
  pool: Mysql2PromisePool<Connection>,
): DriverExecutor<unknown, Connection>;
export function fromMysql2<Connection>(pool: Mysql2Pool<Connection>): DriverExecutor<unknown, Connection>;
export function fromMysql2(pool: unknown): DriverExecutor {
  const { pool: wrapped } = Object(pool) as { pool?: unknown };
  const core = wrapped ?? pool;
  assertPool(core, pool);
  return new Mysql2Executor(core, wrapped ? (pool as Mysql2PromisePool<Lent>) : undefined);
}

function assertPool(core: unknown, given: unknown): asserts core is Pool {
  const { getConnection, execute, config, _closed, _allConnections } = Object(core) as Partial<Pool>;
  const hasMethods = typeof getConnection === 'function' && typeof execute === 'function';
  if (!hasMethods || !config?.connectionConfig || !_allConnections)
    throw new LockError(
      `fromMysql2() needs a pool of mysql2, but it got ${kindOf(given)}. Make one with createPool() of mysql2 or mysql2/promise; for a cluster, make a pool for its writer.`,
    );
  if (_closed)
    throw new LockError(
      'fromMysql2() needs an open pool of mysql2, but the application has ended it. End the pool only when the application closes, after the locks are released.',
    );
}

const NEEDED = 'a connection of the pool with an open transaction';
/** The default size of mysql2's pools. */
const POOL_SIZE = 10;

class Mysql2Executor implements DriverExecutor<PoolConnection> {
  readonly client = 'mysql2';
  /**
   * The type is the same for MariaDB: the store reads the server's version to tell MariaDB
   * from MySQL.
   */
  readonly type = 'mysql';
  private readonly driver = new Mysql2Driver();

  constructor(
    private readonly pool: Pool,
    private readonly promisePool?: Mysql2PromisePool<Lent>,
  ) {}

  get description(): string {
    return describeServer(this.type, this.pool.config.connectionConfig);
  }

  get schema(): string | undefined {
    return this.pool.config.connectionConfig.database;
  }

  get poolSize(): number {
    return this.pool.config.connectionLimit || POOL_SIZE;
  }

  async borrow(): Promise<BorrowedConnection<PoolConnection>> {
    const lent = await this.lend();
    const connection = lent.connection ?? (lent as PoolConnection);
    listen(connection);
    return {
      connection,
      own: {
        transaction: lent,
        begin: async (level) => {
          lent.release = refuseRelease;
          if (level) await query(connection, `SET TRANSACTION ISOLATION LEVEL ${level}`);
          await query(connection, 'START TRANSACTION');
        },
        commit: () => query(connection, 'COMMIT'),
        rollback: () => query(connection, 'ROLLBACK'),
      },
      release: async () => {
        Reflect.deleteProperty(lent, 'release');
        lent.release();
      },
    };
  }

  opensNew(): boolean {
    const { _freeConnections: free, _allConnections: all, config } = this.pool;
    const isFull = config.connectionLimit > 0 && all.length >= config.connectionLimit;
    return free.length === 0 && !isFull;
  }

  async createConnection(settings: object): Promise<PoolConnection> {
    const Connection = await this.connectionClass();
    const { connectionConfig } = this.pool.config;
    const config = Object.create(
      Object.getPrototypeOf(connectionConfig) as object,
      Object.getOwnPropertyDescriptors(connectionConfig),
    ) as object;
    return new Connection({ config: Object.assign(config, settings, { pool: undefined }) });
  }

  async connectionOf(transaction: unknown, doing: string): Promise<PoolConnection> {
    const refused = (found: string) => new NoOpenTransactionError(doing, NEEDED, found);
    const connection = coreOf(transaction);
    if (!connection) throw refused(`it got ${kindOf(transaction)}`);
    const { _pool: pool } = connection;
    if (pool === null) throw endedConnection(doing);
    if (pool !== this.pool)
      throw refused(
        'the connection belongs to another pool than the locks, or to no pool. Use the pool that fromMysql2() got',
      );
    if (connectionsIn(this.pool._freeConnections).includes(connection))
      throw refused('the connection was already released. Release it after the commit or the rollback');
    // A transaction need not have a BEGIN: without autocommit, the first statement begins it.
    if (await this.driver.check(connection, 'status only')) return connection;
    throw refused(
      'the connection is in no transaction: beginTransaction() was not called, or commit() or rollback() has ended the transaction',
    );
  }

  watchTransaction(transaction: unknown): () => boolean {
    const connection = coreOf(transaction);
    return connection ? watchMysqlTransaction(connection) : () => false;
  }

  async close(): Promise<void> {}

  /**
   * Finds mysql2's class of connections without an import: the class of a pool's connections
   * extends it.
   */
  private async connectionClass(): Promise<ConnectionClass> {
    const [open] = connectionsIn(this.pool._allConnections);
    if (open) return Object.getPrototypeOf(open.constructor) as ConnectionClass;
    const borrowed = await this.borrow();
    await borrowed.release();
    return Object.getPrototypeOf(borrowed.connection.constructor) as ConnectionClass;
  }

  private async lend(): Promise<Lent> {
    if (this.promisePool) return this.promisePool.getConnection();
    return new Promise((resolve, reject) => {
      this.pool.getConnection((error, connection) => (error ? reject(error) : resolve(connection)));
    });
  }
}

/**
 * The pool drops a connection after its first error. Without a listener, a second error of the
 * connection would then end the process.
 */
function listen(connection: PoolConnection): void {
  if (!connection.listeners('error').includes(ignore)) connection.on('error', ignore);
}

function ignore(): void {}

function refuseRelease(): never {
  throw new LockError(
    'lock.transaction() releases its connection by itself, after the commit. Leave out connection.release().',
  );
}

/** Returns the connection of mysql2, even if the value is a wrapper of `mysql2/promise`. */
function coreOf(value: unknown): PoolConnection | undefined {
  const { connection = value } = Object(value) as { connection?: unknown };
  const { addCommand, execute } = Object(connection) as Partial<PoolConnection>;
  return typeof addCommand === 'function' && typeof execute === 'function'
    ? (connection as PoolConnection)
    : undefined;
}

function connectionsIn(queue: Queue): object[] {
  return Array.from({ length: queue.length }, (_, index) => queue.get(index));
}

function query(connection: PoolConnection, sql: string): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.query({ sql }, (error) => (error ? reject(error) : resolve()));
  });
}
