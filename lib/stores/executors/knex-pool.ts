import { promisify } from 'node:util';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { Mysql2Driver, type Mysql2Connection } from '../sql/mysql/mysql2-driver.js';
import { PgDriver, type PgClient } from '../sql/postgres/pg-driver.js';
import type { DriverExecutor, SqliteFile } from '../sql/sql-executor.js';
import { fromMysql2 } from './mysql2-executor.js';
import { NoOpenTransactionError } from './no-open-transaction.error.js';
import { fromPg } from './pg-executor.js';
import { describeServer, type ServerAddress } from './server-description.js';

/** The members of a Knex instance's client that the pool uses. */
export interface KnexClient {
  readonly driverName?: string;
  readonly config: {
    searchPath?: unknown;
    connection?: unknown;
    /**
     * From Knex 3.3 on: a pool that the application made, of the package tarn or of the
     * driver.
     */
    connectionPool?: unknown;
    pool?: { afterCreate?: (connection: unknown, done: (error?: Error | null) => void) => void };
  };
  /**
   * If the application passes a function as `connection`, missing until Knex has called it.
   */
  readonly connectionSettings?: Settings;
  readonly connectionConfigProvider?: () => Promise<Settings> | Settings;
  /** Missing once the application has called `destroy()`. */
  readonly pool?: Tarn;
  readonly driver: Driver;
  acquireConnection(): Promise<unknown>;
  releaseConnection(connection: unknown): Promise<void>;
}

/** A connection of the driver, with the mark that Knex sets on a connection that has ended. */
export interface KnexConnection {
  __knex__disposed?: unknown;
  /** On pg: true once the client is ending. */
  readonly _ending?: boolean;
  /** On mysql2: true once the connection is ending. */
  readonly _closing?: boolean;
  /** On better-sqlite3: whether a transaction is open. */
  readonly inTransaction?: boolean;
  exec?(sql: string): void;
}

/** The options of a connection. The password may be a property that a spread does not copy. */
interface Settings extends ServerAddress {
  password?: unknown;
  filename?: unknown;
  connectionString?: string;
  options?: { nativeBinding?: string };
  expirationChecker?: unknown;
}

/** The pool of Knex, or Knex's wrapper around a pool of the driver. */
interface Tarn {
  readonly max?: number;
  readonly free?: readonly { resource: KnexConnection }[];
  readonly used?: readonly { resource: KnexConnection }[];
}

/** The package of the driver; each package has some of these members. */
interface Driver {
  Client?: new (settings: object) => KnexConnection & ServerAddress;
  createConnection?(settings: object): KnexConnection;
}

type Sqlite3 = new (file: unknown, options: object) => KnexConnection & { close(): void };

const TYPES = new Map([
  ['pg', 'postgres'],
  ['mysql2', 'mysql'],
  ['better-sqlite3', 'better-sqlite3'],
]);

/**
 * Which client of Knex to use instead of an unsupported client for the same kind of database.
 */
const INSTEAD = new Map([
  ['pgnative', 'pg'],
  ['mysql', 'mysql2'],
  ['mariadb', 'mysql2'],
  ['sqlite3', 'better-sqlite3'],
]);

/**
 * @param user for messages: the function that needs the client
 * @throws LockError unless Knex has one of the supported clients
 */
export function assertSupportedDatabase(user: string, { driverName }: KnexClient): void {
  if (driverName === undefined)
    throw new LockError(
      `${user} needs a Knex instance that has a database, but the instance that it got only builds queries. Give it a client and a connection: knex({ client: 'pg', connection }).`,
    );
  if (TYPES.has(driverName)) return;
  const instead = INSTEAD.get(driverName);
  throw new LockError(
    instead === undefined
      ? `${user} supports the clients ${[...TYPES.keys()].join(', ')} of Knex, but this instance has ${driverName}. Keep the locks in another database that the application has, through an instance with one of these clients.`
      : `${user} cannot use the client ${driverName} of Knex. Install ${instead}, and set client: '${instead}' in the options of Knex.`,
  );
}

/** @throws LockError unless the instance has a pool that is open */
export function assertOpenPool({ driverName, config, pool }: KnexClient): void {
  if (pool) return;
  throw new LockError(
    config.connection || config.connectionPool
      ? 'fromKnex() needs an open Knex instance, but the application has destroyed it. Destroy the instance only when the application closes, after the locks are released.'
      : `fromKnex() needs a Knex instance with a connection. Pass the option connection: knex({ client: '${String(driverName)}', connection }).`,
  );
}

/** The connections of a Knex instance. */
export class KnexPool {
  readonly type: string;
  /** The executor for a pool of the driver, if the application passed such a pool to Knex. */
  private readonly native: DriverExecutor | undefined;

  constructor(private readonly client: KnexClient) {
    this.type = TYPES.get(String(client.driverName)) ?? '';
    this.native = nativeOf(client);
  }

  get description(): string {
    if (this.native) return this.native.description;
    if (this.type === 'better-sqlite3') return `better-sqlite3 file ${String(this.settings.filename)}`;
    const { Client } = this.client.driver;
    // A client of pg knows the address, since it has read the URL and the environment.
    return describeServer(this.type, Client ? new Client(copyOf(this.settings)) : this.settings);
  }

  get schema(): string | undefined {
    if (this.type !== 'postgres') return this.native?.schema ?? this.settings.database;
    const { searchPath } = this.client.config;
    const first: unknown = Array.isArray(searchPath) ? searchPath[0] : searchPath;
    // If the search path begins with "$user", only the server knows the first schema.
    return typeof first === 'string' && first !== '$user' ? first : undefined;
  }

  get size(): number {
    return this.native?.poolSize ?? this.client.pool?.max ?? 1;
  }

  get sqlite(): SqliteFile | undefined {
    if (this.type !== 'better-sqlite3') return undefined;
    const { free = [], used = [] } = this.client.pool ?? {};
    const inTransaction = [...free, ...used].some(({ resource }) => resource.inTransaction === true);
    return { file: this.settings.filename, inTransaction };
  }

  async borrow(): Promise<KnexConnection> {
    if (!this.client.pool) throw destroyed();
    return (await this.client.acquireConnection()) as KnexConnection;
  }

  /**
   * Returns the connection to Knex. If the store has closed it, a mark keeps Knex from lending
   * it again.
   */
  async release(connection: KnexConnection): Promise<void> {
    if (connection._ending || connection._closing)
      connection.__knex__disposed ??= new Error('The lock store has closed the connection');
    await this.client.releaseConnection(connection);
  }

  opensNew(): boolean | undefined {
    if (this.native) return this.native.opensNew();
    const { free, used } = this.client.pool ?? {};
    if (!free || !used) return undefined;
    return free.every(({ resource }) => resource.__knex__disposed) && used.length < this.size;
  }

  /** Whether the pool has lent this connection at present. */
  async lends(connection: KnexConnection, doing: string): Promise<boolean> {
    const { used = [] } = this.client.pool ?? {};
    if (!this.native) return used.some(({ resource }) => resource === connection);
    try {
      return (await this.native.connectionOf(connection, doing)) === connection;
    } catch (error) {
      if (error instanceof NoOpenTransactionError) return false;
      throw error;
    }
  }

  hasEnded(connection: KnexConnection): boolean {
    return Boolean(connection.__knex__disposed);
  }

  /**
   * Reads from the server whether the connection is in a transaction, and whether a statement
   * of that transaction has failed.
   */
  async stateOf(connection: KnexConnection): Promise<'open' | 'aborted' | 'none'> {
    if (this.type === 'better-sqlite3') return connection.inTransaction ? 'open' : 'none';
    const fault =
      this.type === 'postgres'
        ? await new PgDriver().check(connection as unknown as PgClient)
        : await new Mysql2Driver().check(connection as unknown as Mysql2Connection, 'status only');
    if (fault === 'aborted') return 'aborted';
    return fault ? 'open' : 'none';
  }

  async createConnection(settings: object): Promise<KnexConnection> {
    if (this.native) return (await this.native.createConnection(settings)) as KnexConnection;
    const { driver, connectionConfigProvider } = this.client;
    const { expirationChecker: _, ...given } = copyOf((await connectionConfigProvider?.()) ?? this.settings);
    if (this.type === 'better-sqlite3') return this.createSqlite(settings);
    if (driver.Client) return new driver.Client({ ...given, ...settings });
    if (driver.createConnection) return driver.createConnection({ ...given, ...settings });
    throw destroyed();
  }

  /** Calls the application's `afterCreate`, which may set the key of an encrypted file. */
  private async createSqlite(settings: object): Promise<KnexConnection> {
    const { filename, options } = this.settings;
    const Database = this.client.driver as Sqlite3;
    const { nativeBinding } = options ?? {};
    const connection = new Database(filename, { ...(nativeBinding && { nativeBinding }), ...settings });
    const { afterCreate } = this.client.config.pool ?? {};
    try {
      if (afterCreate) await promisify(afterCreate)(connection);
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  private get settings(): Settings {
    return this.client.connectionSettings ?? {};
  }
}

function nativeOf({ config: { connectionPool }, driverName }: KnexClient): DriverExecutor | undefined {
  if (connectionPool === undefined || 'numPendingAcquires' in Object(connectionPool)) return undefined;
  const from: (pool: never) => DriverExecutor = driverName === 'pg' ? fromPg : fromMysql2;
  return from(connectionPool as never);
}

function copyOf(settings: Settings): Settings {
  const { password } = settings;
  return { ...settings, ...(password !== undefined && { password }) };
}

function destroyed(): LockStoreError {
  return new LockStoreError(
    'The Knex instance was destroyed. Create another instance, call its initialize(), or close the application.',
    { transient: true },
  );
}
