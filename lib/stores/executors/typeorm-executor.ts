import { LockError, LockStoreError } from '../../lock.errors.js';
import { ignoreErrors } from '../sql/postgres/client-errors.js';
import { kindOf } from '../sql/client-kinds.js';
import type { BorrowedConnection, DriverExecutor, SqliteFile } from '../sql/sql-executor.js';
import type { Sqlite } from '../sql/sqlite/sqlite-connection.js';
import { endedConnection } from './no-open-transaction.error.js';
import { describeServer, type ServerAddress } from './server-description.js';

/** The default size of the drivers' pools. */
const POOL_SIZE = 10;

/**
 * The members of a TypeORM DataSource that the executor uses. They are listed here because
 * applications with other clients do not have TypeORM's types. `Manager` is its EntityManager.
 *
 * @publicApi
 */
export interface TypeOrmDataSource<Manager = unknown> {
  readonly isInitialized: boolean;
  readonly options: { readonly type: string };
  readonly driver: unknown;
  readonly manager: Manager;
  createQueryRunner(mode?: 'master'): TypeOrmQueryRunner<Manager>;
}

/** The members of a TypeORM QueryRunner that the executor uses. @publicApi */
export interface TypeOrmQueryRunner<Manager = unknown> {
  readonly manager: Manager;
  connect(): Promise<unknown>;
  startTransaction(level?: 'READ COMMITTED'): Promise<void>;
  commitTransaction(): Promise<void>;
  rollbackTransaction(): Promise<void>;
  release(): Promise<void>;
}

/** The options of TypeORM's drivers that the executor uses. */
interface Options extends Address {
  poolSize?: unknown;
  schema?: string;
  extra?: Address & { max?: unknown; connectionLimit?: unknown };
  replication?: { master?: Address };
}

/** The address of the database. */
interface Address extends ServerAddress {
  url?: string;
}

/** The options of TypeORM for better-sqlite3. */
interface SqliteOptions {
  database?: unknown;
  key?: string;
  nativeBinding?: string;
  prepareDatabase?: (connection: Sqlite) => unknown;
}

/** The members of TypeORM's drivers that the executor uses; each driver has some of them. */
interface Driver {
  /** The pool of pg, with the class and the options of its clients. */
  master?: {
    idleCount?: number;
    totalCount?: number;
    options: Record<string, unknown>;
    Client: new (config: object) => unknown;
    on(event: 'connect', listener: (client: unknown) => void): void;
    listeners(event: 'connect'): unknown[];
  };
  /** The pool of mysql2. A pool cluster does not show its connections. */
  pool?: { _freeConnections?: { length: number }; _allConnections?: { length: number } };
  mysql?: { createConnection(options: object): unknown };
  createConnectionOptions?(options: object, credentials: object): { acquireTimeout?: unknown };
  /**
   * The name of the database. If the options have no name, TypeORM reads it from its first
   * session.
   */
  database?: string;
  sqlite?: new (file: unknown, options: object) => Sqlite;
  databaseConnection?: Sqlite;
}

/**
 * The members of an EntityManager that the executor uses. TypeORM 0.3 calls its DataSource
 * `connection`.
 */
interface Members {
  queryRunner?: TypeOrmQueryRunner & { isTransactionActive: boolean; isReleased: boolean };
  dataSource?: unknown;
  connection?: unknown;
}

/**
 * Runs SQL through a TypeORM DataSource: its pool of pg or mysql2, or its SQLite file.
 * `lock.transaction()` hands out an EntityManager, and `lock.guard()` takes such an object.
 * The store does not close the DataSource, which belongs to the application.
 *
 * @param dataSource initialized before the lock store is used
 * @throws LockError for anything but a DataSource
 * @publicApi
 */
export function fromTypeOrm<Manager>(
  dataSource: TypeOrmDataSource<Manager>,
): DriverExecutor<unknown, Manager> {
  assertDataSource(dataSource, 'fromTypeOrm()');
  return new TypeOrmExecutor(dataSource);
}

/**
 * @param user the function or class that needs the DataSource, for messages
 * @param otherwise a sentence that says what to use instead, for messages
 */
export function assertDataSource(dataSource: unknown, user: string, otherwise = ''): void {
  const { createQueryRunner } = Object(dataSource) as Partial<TypeOrmDataSource>;
  if (typeof createQueryRunner === 'function') return;
  throw new LockError(
    `${user} needs a DataSource of TypeORM, but it got ${kindOf(dataSource)}.${otherwise && ` ${otherwise}`}`,
  );
}

/** @throws LockStoreError before `initialize()`, and after `destroy()` */
export function assertInitialized({ isInitialized, options }: TypeOrmDataSource): void {
  if (isInitialized) return;
  throw new LockStoreError(
    `The ${options.type} DataSource is not initialized, or was destroyed. Call its initialize() before the lock store is used.`,
    { transient: true },
  );
}

/**
 * Sends statements on the driver's connections, since TypeORM's own `query` takes 1.5 times as
 * long.
 */
export class TypeOrmExecutor<Manager> implements DriverExecutor<unknown, Manager> {
  /** @param close closes the DataSource, if it was opened for the store */
  constructor(
    private readonly dataSource: TypeOrmDataSource<Manager>,
    readonly close: () => Promise<void> = async () => undefined,
  ) {}

  readonly client = 'TypeORM';

  get type(): string {
    return this.dataSource.options.type;
  }

  get description(): string {
    return describeDataSource(this.dataSource.options);
  }

  get schema(): string | undefined {
    const { schema, extra } = this.options;
    return this.type === 'postgres' ? schema : (extra?.database ?? this.driver.database);
  }

  get poolSize(): number {
    const { poolSize, extra } = this.options;
    const sizes = [poolSize, extra?.max, extra?.connectionLimit].map((size) => Number(size) || 0);
    return Math.max(...sizes) || POOL_SIZE;
  }

  get sqlite(): SqliteFile | undefined {
    if (this.type !== 'better-sqlite3') return undefined;
    const { databaseConnection: shared } = this.driver;
    return { file: this.options.database, inTransaction: shared?.inTransaction === true };
  }

  async borrow(): Promise<BorrowedConnection<unknown, Manager>> {
    assertInitialized(this.dataSource);
    this.listen();
    const runner = this.dataSource.createQueryRunner('master');
    const connection = await runner.connect();
    return {
      connection,
      own: {
        transaction: runner.manager,
        begin: (level) => runner.startTransaction(level),
        commit: () => runner.commitTransaction(),
        rollback: () => runner.rollbackTransaction(),
      },
      release: () => runner.release(),
    };
  }

  /** Listens once for each pool; a DataSource has a new pool after each `initialize()`. */
  private listen(): void {
    const { master } = this.driver;
    if (this.type !== 'postgres' || !master || master.listeners('connect').includes(ignoreErrors)) return;
    master.on('connect', ignoreErrors);
  }

  opensNew(): boolean | undefined {
    const { master, pool } = this.driver;
    const idle = master?.idleCount ?? pool?._freeConnections?.length;
    const all = master?.totalCount ?? pool?._allConnections?.length;
    return idle === undefined || all === undefined ? undefined : idle === 0 && all < this.poolSize;
  }

  async createConnection(settings: object): Promise<unknown> {
    assertInitialized(this.dataSource);
    const { master, mysql, sqlite } = this.driver;
    if (sqlite) return this.createSqliteConnection(sqlite, settings);
    if (mysql) {
      const { acquireTimeout: _, ...own } =
        this.driver.createConnectionOptions?.(
          this.options,
          this.options.replication?.master ?? this.options,
        ) ?? {};
      return mysql.createConnection({ ...own, ...settings });
    }
    if (!master) throw new LockStoreError(`TypeORM has no driver for ${this.type} that locks could use.`);
    const { options, Client } = master;
    // a spread does not copy the password
    return new Client({ ...options, password: options.password, ...settings });
  }

  async connectionOf(transaction: unknown, doing: string): Promise<unknown> {
    const { queryRunner, dataSource, connection } = Object(transaction) as Members;
    if (!queryRunner?.isTransactionActive)
      throw new LockError(
        `Could not ${doing}: it needs the EntityManager of an open transaction, as dataSource.transaction() passes it. For a transaction that the store begins, use lock.transaction().`,
      );
    if ((dataSource ?? connection) !== this.dataSource)
      throw new LockError(
        `Could not ${doing}: the EntityManager belongs to another DataSource than the locks. Pass that DataSource to fromTypeOrm(), or its name to typeOrmStore() in the option dataSource; or use lock.transaction().`,
      );
    if (queryRunner.isReleased) throw endedConnection(doing);
    return queryRunner.connect();
  }

  watchTransaction(transaction: unknown): () => boolean {
    const { queryRunner } = Object(transaction) as Members;
    return () => queryRunner?.isTransactionActive === true && !queryRunner.isReleased;
  }

  private async createSqliteConnection(
    Database: NonNullable<Driver['sqlite']>,
    settings: object,
  ): Promise<Sqlite> {
    const { database, key, nativeBinding, prepareDatabase } = this.dataSource.options as SqliteOptions;
    const connection = new Database(database, { ...(nativeBinding && { nativeBinding }), ...settings });
    try {
      // the key has to be the first statement, as in TypeORM
      if (key) connection.pragma(`key = ${JSON.stringify(key)}`);
      await prepareDatabase?.(connection);
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  private get options(): Options {
    return this.dataSource.options as Options;
  }

  private get driver(): Driver {
    return this.dataSource.driver ?? {};
  }
}

/**
 * Describes the database for messages: type, host, port and name, or file; never a user, a
 * password or a URL.
 */
export function describeDataSource(options: TypeOrmDataSource['options']): string {
  const { type } = options;
  const { extra, replication, ...own } = options as Options;
  const { host, port, database, socketPath, url }: Address = { ...own, ...extra, ...replication?.master };
  if (type.includes('sqlite')) return `${type} file ${database}`;
  const address = url && URL.canParse(url) ? new URL(url) : undefined;
  return describeServer(type, {
    host: address?.hostname || host,
    port: address?.port || port,
    database: address?.pathname.slice(1) || database,
    socketPath: address?.hostname ? undefined : socketPath,
  });
}
