import { show, LockError } from '../../lock.errors.js';
import { assertKnownOptions } from '../../options/known-options.js';
import type { LockTable } from './lock-table.ddl.js';

/** The options of the table that keeps the locks. @publicApi */
export interface LockTableOptions {
  /**
   * The name of the table: letters, digits and underscores, at most 63 characters. Default
   * `locks`, or `locks_weak` with `weak`.
   */
  table?: string | undefined;
  /**
   * The PostgreSQL schema of the table, or its MySQL or MariaDB database; SQLite has none. The
   * default is the client's option `schema` or `database`. Without that option, it is on
   * PostgreSQL the first existing schema in the user's default `search_path`. Settings of a
   * single connection are ignored.
   */
  schema?: string | undefined;
  /**
   * Makes locks cheaper, but a crash of the database may delete locks and pauses of keys. Then
   * another process gets a lock while its holder still believes in it, and only fencing tokens
   * protect the data. PostgreSQL keeps weak locks in an `UNLOGGED` table; SQLite does not wait
   * for the disk. MySQL and MariaDB have no weak locks. Work that runs once per tick refuses
   * weak locks. Default `false`.
   */
  weak?: boolean | undefined;
}

/** The options that all lock stores in SQL databases have. @publicApi */
export interface SqlStoreOptions extends LockTableOptions {
  /**
   * Whether the store creates a missing table at start. With `false`, a migration has to
   * create it. Default `true`.
   */
  autoCreate?: boolean | undefined;
  /**
   * Whether PostgreSQL notifies waiting processes by NOTIFY when a key is released. A process
   * in which a call has waited once keeps a connection for notifications, outside of the pool.
   * With `false`, waiters poll, as on the other databases. All instances need the same value.
   * Default `true`.
   */
  wakeUps?: boolean | undefined;
  /**
   * Whether a release does not wait for the disk if the lease would end within 60 s anyway.
   * PostgreSQL commits such a release asynchronously, so a crash of the database may undo the
   * releases of the last few hundred milliseconds. Then the key stays held until its ttl has
   * passed, and the run is shown as failed. All other statements still wait for the disk, and
   * so do releases with `minHold` or of work that runs once per tick. PostgreSQL only. Default
   * `false`.
   */
  asyncRelease?: boolean | undefined;
  /**
   * Whether the store uses prepared statements. Set it to `false` behind a pooler that loses
   * them. On PostgreSQL, the store detects such a pooler when the first statement fails. Not
   * for SQLite. Default `true`.
   */
  preparedStatements?: boolean | undefined;
  /**
   * Whether acquisitions share a statement if they arrive while other acquisitions are being
   * sent, and releases likewise. Each lock keeps its own result. With `false`, each request is
   * sent in its own statement, as always on MySQL before 8, on MariaDB before 10.6 and on
   * MariaDB through Prisma. Default `true`.
   */
  batching?: boolean | undefined;
}

/** The options of a store, with defaults for the options that were not given. */
export interface SqlStoreSettings {
  table: LockTable;
  autoCreate: boolean;
  wakeUps: boolean;
  asyncRelease: boolean;
  preparedStatements: boolean;
  batching: boolean;
}

const DEFAULTS = {
  autoCreate: true,
  weak: false,
  wakeUps: true,
  asyncRelease: false,
  preparedStatements: true,
  batching: true,
};

/** The names of the options that describe the table. */
export const TABLE_OPTIONS: readonly string[] = ['table', 'schema', 'weak'];
export const STORE_OPTIONS: readonly string[] = ['table', 'schema', ...Object.keys(DEFAULTS)];

// PostgreSQL has the lowest limit of all databases, 63 characters.
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;

/**
 * Validates the options of the table.
 *
 * @throws LockError that names the wrong option and its rule
 */
export function readTable(options: LockTableOptions): LockTable {
  const weak = flag('weak', options);
  const { table = weak ? 'locks_weak' : 'locks', schema } = options;
  assertIdentifier('table', table);
  if (schema !== undefined) assertIdentifier('schema', schema);
  return { table, schema, weak };
}

/**
 * Validates the options and fills in the defaults.
 *
 * @param store the name of the store's class, for messages
 * @throws LockError that names the wrong option and its rule
 */
export function readStoreOptions(store: string, options: SqlStoreOptions): SqlStoreSettings {
  assertKnownOptions(store, options, STORE_OPTIONS);
  return {
    table: readTable(options),
    autoCreate: flag('autoCreate', options),
    wakeUps: flag('wakeUps', options),
    asyncRelease: flag('asyncRelease', options),
    preparedStatements: flag('preparedStatements', options),
    batching: flag('batching', options),
  };
}

function flag(
  option: keyof typeof DEFAULTS,
  { [option]: value = DEFAULTS[option] }: SqlStoreOptions,
): boolean {
  if (typeof value === 'boolean') return value;
  throw new LockError(`${option} must be true or false, but it is ${show(value)}.`);
}

function assertIdentifier(option: string, value: unknown): void {
  if (typeof value === 'string' && IDENTIFIER.test(value)) return;
  const hint = option === 'table' && typeof value === 'string' && value.includes('.');
  throw new LockError(
    `${option} must be a name of letters, digits and underscores that does not start with a digit and has at most 63 characters, but it is ` +
      `${show(value)}.${hint ? ' To name the schema, use the option schema.' : ''}`,
  );
}
