import { show, LockError } from '../../lock.errors.js';
import { assertKnownOptions } from '../../options/known-options.js';
import type { LockTable } from './lock-table.ddl.js';

/** The table that keeps the locks. @publicApi */
export interface LockTableOptions {
  /**
   * Its name: letters, digits and underscores, at most 63. Default `locks`; `locks_weak` for
   * weak locks.
   */
  table?: string | undefined;
  /**
   * The PostgreSQL schema, or the MySQL or MariaDB database; SQLite has none. Default: the
   * client's own option `schema` or `database`; else, on PostgreSQL, the first existing
   * schema of the user's default `search_path`. Settings of a single connection do not count.
   */
  schema?: string | undefined;
  /**
   * Cheaper locks, which a crash of the database may take away, as it may the pauses of keys.
   * Then another process gets a lock while its holder still believes in it, and only fencing
   * tokens protect. PostgreSQL keeps weak locks in an `UNLOGGED` table; SQLite does not wait
   * for the disk. MySQL and MariaDB have no weak locks. No work runs once per tick on them.
   * Default `false`.
   */
  weak?: boolean | undefined;
}

/** What all lock stores in SQL databases have. @publicApi */
export interface SqlStoreOptions extends LockTableOptions {
  /**
   * Creates the table at start when it is missing. Default `true`; `false` leaves it to a
   * migration.
   */
  autoCreate?: boolean | undefined;
  /**
   * On PostgreSQL, notifies waiting processes of a release by NOTIFY. A process that has
   * waited once keeps a connection for that, outside of the pool. With `false`, waiters poll,
   * as they do on the other databases. All instances need the same value. Default `true`.
   */
  wakeUps?: boolean | undefined;
  /**
   * Does not wait for the disk when the lease would end within 60 s anyway: PostgreSQL commits
   * such a release asynchronously. A crash of the database may forget the releases of the last
   * few hundred milliseconds. Then the key is held until its ttl has passed, and the run shows
   * as failed. A release under `minHold` or once per tick, and every other statement, still
   * waits for the disk. PostgreSQL only. Default `false`.
   */
  asyncRelease?: boolean | undefined;
  /**
   * With `false`, statements are not prepared from the start. That is for a pooler before
   * PostgreSQL, MySQL or MariaDB that does not keep prepared statements. On PostgreSQL the
   * store detects such a pooler by the first statement that fails. Not for SQLite. Default
   * `true`.
   */
  preparedStatements?: boolean | undefined;
  /**
   * Acquisitions that arrive while others are under way share the next statement, and so do
   * releases; each lock keeps a result of its own. MySQL before 8, MariaDB before 10.6 and
   * MariaDB through Prisma get each request by itself, as with `false`. Default `true`.
   */
  batching?: boolean | undefined;
}

/** Store options with the defaults filled in. */
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

/** The options that describe the table. */
export const TABLE_OPTIONS: readonly string[] = ['table', 'schema', 'weak'];
export const STORE_OPTIONS: readonly string[] = ['table', 'schema', ...Object.keys(DEFAULTS)];

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/; // 63 is PostgreSQL's limit, the shortest

/** @throws LockError that names the option that is wrong, and the rule */
export function readTable(options: LockTableOptions): LockTable {
  const weak = flag('weak', options);
  const { table = weak ? 'locks_weak' : 'locks', schema } = options;
  assertIdentifier('table', table);
  if (schema !== undefined) assertIdentifier('schema', schema);
  return { table, schema, weak };
}

/**
 * @param store the name of the store's class, for messages
 * @throws LockError that names the option that is wrong, and the rule
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
    `${option} must be a name of letters, digits and underscores that does not start with a digit, at most 63 characters, but it is ` +
      `${show(value)}.${hint ? ' To name the schema, use the option schema.' : ''}`,
  );
}
