import { LockError } from '../../lock.errors.js';
import { kindOf } from '../sql/client-kinds.js';
import { ignoreErrors } from '../sql/postgres/client-errors.js';
import { hasEnded, PgDriver, watchPgTransaction, type PgClient } from '../sql/postgres/pg-driver.js';
import type { BorrowedConnection, DriverExecutor } from '../sql/sql-executor.js';
import { UnusableConnectionError } from '../sql/unusable-connection.js';
import { endedConnection, failedTransaction, NoOpenTransactionError } from './no-open-transaction.error.js';
import { describeServer, type ServerAddress } from './server-description.js';

/** The members of a pool of pg that the executor uses. @publicApi */
export interface PgPool {
  connect(): Promise<unknown>;
  readonly idleCount: number;
  readonly totalCount: number;
}

/** The client that a pool of pg lends: `PoolClient` in the types of pg. @publicApi */
export type PgClientOf<P> = P extends {
  connect: { (): Promise<infer Client>; (callback: never): void };
}
  ? Client
  : P extends { connect(): Promise<infer Client> }
    ? Client
    : never;

/** The members of pg-pool that the executor uses and that its types do not show. */
interface Pool extends PgPool {
  connect(): Promise<PoolClient>;
  readonly options: { max?: number; connectionString?: string; password?: unknown };
  /** The class of the pool's clients, from pg or pg-native. */
  readonly Client: new (config: object) => PgClient & ServerAddress;
  /** True once the application has called `end()`. */
  readonly ending?: boolean;
  readonly _clients?: readonly unknown[];
  readonly _idle?: readonly { client: unknown }[];
  on(event: 'error' | 'release', listener: (error: unknown, client: object) => void): void;
  on(event: 'connect', listener: (client: unknown) => void): void;
  off(event: 'error' | 'release', listener: (error: unknown, client: object) => void): void;
  off(event: 'connect', listener: (client: unknown) => void): void;
}

/** A client that the pool lends. */
type PoolClient = PgClient & {
  query(text: string): Promise<{ command?: string }>;
  on(event: 'error', listener: () => void): void;
  off(event: 'error', listener: () => void): void;
  /** The pool sets a new function each time it lends the client. */
  release: (this: void) => void;
};

const NEEDED = 'a client of the pool with an open transaction';
/** The default size of pg's pools. */
const POOL_SIZE = 10;

/**
 * Runs SQL on PostgreSQL through a pool of pg. `lock.transaction()` hands out a client of the
 * pool, and `lock.guard()` takes such a client.
 *
 * The store does not close the pool, which belongs to the application. While the store is
 * open, it listens to errors of idle clients, since an error without a listener ends the
 * process.
 *
 * @throws LockError for anything but an open pool of pg
 * @publicApi
 */
export function fromPg<P extends PgPool>(pool: P): DriverExecutor<unknown, PgClientOf<P>> {
  assertPool(pool);
  return new PgExecutor(pool) as DriverExecutor as DriverExecutor<unknown, PgClientOf<P>>;
}

function assertPool(pool: unknown): asserts pool is Pool {
  const { connect, totalCount, Client, options, ending } = Object(pool) as Partial<Pool>;
  if (typeof connect !== 'function' || typeof totalCount !== 'number' || !Client || !options)
    throw new LockError(
      `fromPg() needs a pool of pg, but it got ${kindOf(pool)}. Make one with new Pool({ ... }) of pg.`,
    );
  if (ending)
    throw new LockError(
      'fromPg() needs an open pool of pg, but the application has ended it. End the pool only when the application closes, after the locks are released.',
    );
}

class PgExecutor implements DriverExecutor<PgClient, PoolClient> {
  readonly client = 'pg';
  readonly type = 'postgres';
  /**
   * The store reads the schema from the server, since it depends on the connection's options,
   * the user and the database.
   */
  readonly schema = undefined;
  private readonly driver = new PgDriver();
  /**
   * How often the pool has got each client back since the store began to listen to the pool.
   */
  private readonly releases = new WeakMap<object, number>();
  private isListening = false;
  private described: string | undefined;

  constructor(private readonly pool: Pool) {}

  get description(): string {
    return (this.described ??= describeServer(this.type, this.addressOf()));
  }

  get poolSize(): number {
    return this.pool.options.max ?? POOL_SIZE;
  }

  async borrow(): Promise<BorrowedConnection<PgClient, PoolClient>> {
    this.listen();
    const client = await this.pool.connect();
    const { release } = client;
    client.on('error', ignore); // the pool listens only to idle clients
    return {
      connection: client,
      own: {
        transaction: client,
        begin: async (level) => {
          client.release = refuseRelease;
          await client.query(`BEGIN${level ? ` ISOLATION LEVEL ${level}` : ''}`);
        },
        commit: () => commit(client),
        rollback: async () => void (await client.query('ROLLBACK')),
      },
      release: async () => {
        client.release = release;
        client.release();
        client.off('error', ignore);
      },
    };
  }

  opensNew(): boolean {
    return this.pool.idleCount === 0 && this.pool.totalCount < this.poolSize;
  }

  async createConnection(settings: object): Promise<PgClient> {
    return new this.pool.Client(this.configuration(settings));
  }

  async connectionOf(transaction: unknown, doing: string): Promise<PgClient> {
    const refused = (found: string) => new NoOpenTransactionError(doing, NEEDED, found);
    if (!isClient(transaction)) throw refused(`it got ${kindOf(transaction)}`);
    if (hasEnded(transaction)) throw endedConnection(doing);
    const { _clients: clients, _idle: idle } = this.pool;
    if (clients && !clients.includes(transaction))
      throw refused(
        'the client belongs to another pool than the locks, or to no pool. Use the pool that fromPg() got',
      );
    if (idle?.some(({ client }) => client === transaction))
      throw refused('the client was already released. Release it after COMMIT or ROLLBACK');
    const fault = await this.driver.check(transaction);
    if (fault === 'transaction') return transaction;
    if (fault === 'unseen') throw new UnusableConnectionError(fault);
    if (fault === 'aborted') throw failedTransaction(doing);
    throw refused(
      'the client is in no transaction: BEGIN was not sent, or COMMIT or ROLLBACK has ended the transaction',
    );
  }

  watchTransaction(transaction: unknown): () => boolean {
    if (!isClient(transaction)) return () => false;
    this.listen();
    const releases = this.releases.get(transaction);
    const isOpen = watchPgTransaction(transaction);
    return () => isOpen() && this.releases.get(transaction) === releases;
  }

  async close(): Promise<void> {
    this.isListening = false;
    this.pool.off('error', ignore);
    this.pool.off('release', this.onRelease);
    this.pool.off('connect', ignoreErrors);
  }

  /**
   * Without a listener, the error of an idle connection would end the process. The pool itself
   * drops the connection.
   */
  private listen(): void {
    if (this.isListening) return;
    this.isListening = true;
    this.pool.on('error', ignore);
    this.pool.on('release', this.onRelease);
    this.pool.on('connect', ignoreErrors);
  }

  private readonly onRelease = (_: unknown, client: object): void => {
    this.releases.set(client, (this.releases.get(client) ?? 0) + 1);
  };

  /**
   * Returns the server's address as pg reads it: from options, URL, environment and defaults.
   */
  private addressOf(): ServerAddress {
    try {
      const { host, port, database } = new this.pool.Client(this.configuration({ stream: undefined }));
      return { host, port, database };
    } catch {
      return {}; // the first connection of the pool will fail with the same error
    }
  }

  /** Returns the options of the pool's clients, with the settings added. */
  private configuration(settings: object): object {
    const { options } = this.pool;
    const { password, connectionString } = options;
    if (!connectionString) return { ...options, password, ...settings };
    const url = withoutParameters(connectionString, Object.keys(settings));
    return { ...options, password, connectionString: url, ...settings };
  }
}

async function commit(client: PoolClient): Promise<void> {
  const { command } = await client.query('COMMIT');
  if (command === 'ROLLBACK') throw rolledBack();
}

/**
 * The error for a COMMIT to which PostgreSQL answered with a rollback, since a statement of
 * the transaction had failed.
 */
export function rolledBack(): LockError {
  return new LockError(
    'The transaction was rolled back: a statement in it had failed, and the error was caught. Let the work of lock.transaction() reject with the error, or use SAVEPOINT.',
  );
}

function refuseRelease(): never {
  throw new LockError(
    'lock.transaction() releases its client by itself, after the commit. Leave out client.release().',
  );
}

function isClient(value: unknown): value is PgClient {
  const { query, end, totalCount } = Object(value) as Record<string, unknown>;
  return typeof query === 'function' && typeof end === 'function' && totalCount === undefined;
}

/**
 * Removes parameters from a URL, since pg would prefer them to options of the same names.
 */
function withoutParameters(url: string, names: readonly string[]): string {
  const [address = '', query] = url.split('?', 2);
  if (query === undefined) return url;
  const parameters = new URLSearchParams(query);
  for (const name of names) parameters.delete(name);
  return `${address}?${parameters.toString()}`;
}

function ignore(): void {}
