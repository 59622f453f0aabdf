import type { SqlExecutor } from '../../../lib/stores/sql/index.js';
import type { SqlExecutorConformanceOptions } from '../../../lib/testing/index.js';
import type { SqlStore, Target } from '../../servers/targets.js';

/** A kind of client, such as pg, and the databases that it can reach. */
export interface ClientKind {
  name: string;
  stores: readonly SqlStore[];
  /**
   * The optional parts of an executor that this client lacks, as `sqlExecutorConformance`
   * names them.
   */
  without?: (store: SqlStore) => SqlExecutorConformanceOptions['without'];
  /** Opens a client on the database, with a pool of this size, as an application does. */
  open: (target: Target, poolSize?: number) => Promise<TestClient>;
}

/** A client that an application has opened. Its members are those of an `SqlExecutorTrial`. */
export interface TestClient<Transaction = any> {
  /** Makes a new executor with each call. Closing the executor leaves the client open. */
  executor(): SqlExecutor<Transaction>;
  query(sql: string, transaction?: Transaction): Promise<unknown>;
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  nested?<T>(transaction: Transaction, work: (nested: Transaction) => Promise<T>): Promise<T>;
  /**
   * Leaves connections of the pool in open transactions. If the pool keeps such connections,
   * the result is a function that ends the transactions.
   */
  leaveDirty?(): Promise<void | (() => Promise<void>)>;
  notTransactions: Record<string, unknown>;
  /** Closes the client itself. */
  close(): Promise<void>;
}

/** Returns the options of a connection, under the names that pg and mysql2 use. */
export function serverOf({ options }: Pick<Target, 'options'>) {
  const { host, port, username: user, password, database } = options as unknown as ServerOptions;
  return { host, port, user, password, database };
}

interface ServerOptions {
  host: string;
  port: number;
  username: string;
  password: string;
  database: string;
}
