import { fromBetterSqlite3 } from '../stores/executors/better-sqlite3-executor.js';
import { fromMysql2 } from '../stores/executors/mysql2-executor.js';
import { fromPg } from '../stores/executors/pg-executor.js';
import { loadPackage } from '../stores/shared/opening.js';
import { inTime, NoAnswerError } from '../stores/shared/operation-limit.js';
import type { SqlExecutor } from '../stores/sql/sql-executor.js';
import { storeFailure } from '../stores/sql/store-failure.js';
import type { StoreAddress } from './store-url.js';

/** The URL of an SQL database, or the path of an SQLite file. */
export type SqlAddress = Exclude<StoreAddress, { kind: 'mongodb' }>;

/**
 * How many connections to open: one for statements, and one on which PostgreSQL notifies a
 * waiter.
 */
const POOL_SIZE = 2;

/**
 * Connects to the database of a URL. The user has to have installed the driver of the
 * database.
 */
export class OwnClient {
  private opened: { executor: SqlExecutor; end: () => Promise<unknown> } | undefined;

  constructor(private readonly address: SqlAddress) {}

  /**
   * Connects to the database at the first call, and returns the same client at later calls.
   *
   * @throws LockError that names the package to install
   * @throws LockStoreError if the driver cannot read the URL or cannot open the file
   */
  async open(): Promise<SqlExecutor> {
    this.opened ??= await connect(this.address);
    return this.opened.executor;
  }

  /** Ends the connections. It does not wait for a server that no longer answers. */
  async close(): Promise<void> {
    try {
      await inTime(Promise.resolve(this.opened?.end()));
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
    }
  }
}

async function connect(address: SqlAddress): Promise<{ executor: SqlExecutor; end: () => Promise<unknown> }> {
  if (address.kind === 'sqlite') {
    const { default: Sqlite } = await load('better-sqlite3', () => import('better-sqlite3'));
    // The executor opens the file a second time, and would create it if it did not exist. So
    // the driver opens it here first, and fails if it does not exist.
    const database = made(address, () => new Sqlite(address.file, { fileMustExist: true }));
    return { executor: fromBetterSqlite3(database), end: async () => database.close() };
  }
  if (address.type === 'postgres') {
    const { default: pg } = await load('pg', () => import('pg'));
    const settings = { connectionString: address.url, max: POOL_SIZE, application_name: 'nestjs-locked' };
    const pool = made(address, () => new pg.Pool(settings));
    return { executor: fromPg(pool), end: () => pool.end() };
  }
  const { default: mysql } = await load('mysql2', () => import('mysql2'));
  // The driver also reads the options after the question mark of the URL, such as ssl, but
  // only from `uri`.
  const pool = made(address, () => mysql.createPool({ uri: address.url, connectionLimit: POOL_SIZE }));
  return { executor: fromMysql2(pool), end: () => pool.promise().end() };
}

function load<Module>(name: string, importing: () => Promise<Module>): Promise<Module> {
  return loadPackage('For this URL, nestjs-locked', name, name, importing);
}

/**
 * Makes a client. If the driver fails, its error may repeat the URL with the password, so the
 * password is hidden.
 */
function made<Client>(address: SqlAddress, make: () => Client): Client {
  try {
    return make();
  } catch (error) {
    const target = address.kind === 'sqlite' ? `the file ${address.file}` : `the ${address.type} database`;
    throw storeFailure(error, 'open the lock store', target);
  }
}
