import { LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { brokenOff, NETWORK_CODES, noAnswer, storeFailureOf, type StoreFailure } from '../shared/failures.js';
import { faultOf, UnusableConnectionError, type ConnectionFault } from './unusable-connection.js';

/**
 * The operation collided with another session. It changed nothing, and the holder of the key
 * is not known.
 */
export class CollisionError extends LockStoreError {
  constructor(doing: string, target: string, cause?: unknown) {
    super(
      `Could not ${doing}: in ${target} another session has locked the row. Look for a transaction that stays open.`,
      { cause, transient: true },
    );
  }
}

/**
 * The fields that the drivers' errors may have: an SQLSTATE or a system code, MySQL's error
 * number and state, PostgreSQL's severity.
 */
interface DriverError {
  message?: unknown;
  code?: unknown;
  errno?: unknown;
  sqlState?: unknown;
  severity?: unknown;
  fatal?: unknown;
}

/**
 * Codes of collisions with other sessions. On PostgreSQL: serialization failure, deadlock,
 * lock not available, unique violation. On MySQL and MariaDB: the same four, the code of SKIP
 * LOCKED, and a conflict with another member of a replication group.
 */
const COLLISION_CODES = new Set<unknown>([
  '40001',
  '40P01',
  '55P03',
  '23505',
  1020,
  1062,
  1205,
  1213,
  3101,
  3572,
]);

/**
 * A failed commit with error 149 is a deadlock with a transaction on another member of the
 * group.
 */
const COMMIT_FAILED = 1180;
const DEADLOCK_AT_COMMIT = /\berror:? 149\b/i;

const STALE_READ = new Set<unknown>([1020, 'SQLITE_BUSY_SNAPSHOT']);

/**
 * Error codes of a server that takes no writes: a replica, or a writer that was demoted but
 * has kept its connections open. Another connection may lead to the new writer.
 */
const READ_ONLY = new Set<unknown>(['25006', 1036, 1792, 1836, 1874, 3100]);
/**
 * The code for a statement that an option of the server forbids. Only if the message names
 * read_only, the server takes no writes.
 */
const FORBIDDEN_BY_OPTION = 1290;
const READ_ONLY_TEXT = /read[-_ ]only/i;

/**
 * Codes for connections or statements that the server or an operator has ended, and for too
 * many connections.
 */
const POSTGRES_BROKEN_OFF = [
  '25P03',
  '25P04',
  '40003', // it is unknown whether the statement was completed
  '53300',
  '57000', // Pgpool-II has lost a server behind it
  '57014',
  '57P01',
  '57P02',
  '57P03',
  '57P05',
];
const MYSQL_BROKEN_OFF = [
  1040,
  1053,
  1079,
  1203,
  1226,
  1317,
  1927,
  1969,
  2002, // 2002, 2003, 2006, 2013: a proxy has lost its server
  2003,
  2006,
  2013,
  3024,
  3032, // 3032, 6400: the server is in offline mode
  3168,
  3169,
  3781, // 3781 to 3783: a new primary is still applying its backlog
  3782,
  3783,
  3797, // 3797, 3798: a member did not catch up with the group in time
  3798,
  4031,
  6400,
  9001, // ProxySQL has no server for this kind of statement
  'PROTOCOL_CONNECTION_LOST',
];
/** Codes of mysql2's pool cluster when it has removed a server because of errors. */
const TAKEN_OUT = new Set<unknown>(['POOL_NOEXIST', 'POOL_NONEONLINE']);
const BROKEN_OFF = new Set<unknown>([
  ...POSTGRES_BROKEN_OFF,
  ...MYSQL_BROKEN_OFF,
  ...NETWORK_CODES,
  'ENOENT', // the server's socket file is missing
]);

/**
 * Messages of connection errors that have no code, in pg and mysql2. The last messages are
 * those of pg, mysql2 and TypeORM for a closed pool, which the application may open again.
 */
const BROKEN_OFF_TEXT = new RegExp(
  [
    'connection terminated',
    'timeout expired',
    'timeout exceeded when trying to connect',
    'not queryable',
    'query read timeout',
    'closed state',
    'queue limit',
    'no connections available',
    'query runner already released',
    'pool is closed',
    'cannot use a pool after calling end',
    'driver not connected',
    'connection is not established',
  ].join('|'),
  'i',
);

/**
 * Matches PgBouncer's message when it refuses a BEGIN. The code 08P01 is not enough, since
 * broken connections have it too.
 */
const STATEMENT_POOLING = /not allowed in statement pooling mode/i;

const MISSING_TABLE = new Set<unknown>(['42P01', 1146]);
/**
 * Codes for a missing right. On PostgreSQL: insufficient privilege. On MySQL: no right on a
 * database, a table or a column, or for the operation.
 */
const DENIED = new Set<unknown>(['42501', 1044, 1142, 1143, 1227]);
/**
 * The code of MySQL and MariaDB for a write at READ COMMITTED while the binary log records
 * statements.
 */
const NOT_LOGGABLE = new Set<unknown>([1665]);
const EXISTING_TABLE = new Set<unknown>([1050]);
const MISSING_SCHEMA = new Set<unknown>(['3F000', 1049]);

/**
 * Whether the error is a collision with another session. The statement changed nothing, and
 * the holder of the key is not known.
 */
export function isContention(error: unknown): boolean {
  const { code, errno, message } = driverError(error);
  if (errno === COMMIT_FAILED) return DEADLOCK_AT_COMMIT.test(String(message));
  return has(error, COLLISION_CODES) || String(code).startsWith('SQLITE_BUSY');
}

/**
 * Whether the error says that the server takes no writes: it is a replica, or a writer that
 * was demoted.
 */
export function isReadOnly(error: unknown): boolean {
  const { errno, message } = driverError(error);
  if (errno === FORBIDDEN_BY_OPTION) return READ_ONLY_TEXT.test(String(message));
  return has(error, READ_ONLY);
}

/** Returns the fault of the connection that an error shows, if it shows one. */
export function faultShownBy(error: unknown): ConnectionFault | undefined {
  return isReadOnly(error) ? 'readOnly' : faultOf(error);
}

/**
 * Whether the error says that another session has changed rows that the transaction has read,
 * so that the transaction cannot continue. MariaDB and SQLite report this.
 */
export function isStaleRead(error: unknown): boolean {
  return has(error, STALE_READ);
}

/**
 * Whether the error is the database's answer to a statement, so that the connection can still
 * be used.
 */
export function isServerAnswer(error: unknown): boolean {
  const { severity, sqlState, fatal, code } = driverError(error);
  const answered =
    typeof severity === 'string' || typeof sqlState === 'string' || String(code).startsWith('SQLITE_');
  const ended = fatal === true || severity === 'FATAL' || severity === 'PANIC';
  return answered && !ended && !isBrokenOff(error) && !isReadOnly(error);
}

/**
 * Whether the error says that the table is missing.
 *
 * @param table the name of the table, if the statement may also miss other tables, for example
 * in a trigger
 */
export function isMissingTable(error: unknown, table = ''): boolean {
  const message = String(driverError(error).message);
  return (has(error, MISSING_TABLE) || message.startsWith('no such table')) && message.includes(table);
}

/**
 * Whether the error says that the user lacks a right, or that SQLite's file cannot be written.
 */
export function isDenied(error: unknown): boolean {
  return has(error, DENIED) || /^SQLITE_(READONLY|CANTOPEN|PERM)/.test(String(driverError(error).code));
}

/**
 * Whether the error says that the server cannot log the write, since the transaction is at
 * READ COMMITTED and the binary log records statements. Locks are not affected, since they are
 * written outside of transactions.
 */
export function isNotLoggable(error: unknown): boolean {
  return has(error, NOT_LOGGABLE);
}

/** Whether the error says that a table with this name already exists, on MySQL and MariaDB. */
export function isExistingTable(error: unknown): boolean {
  return has(error, EXISTING_TABLE);
}

export function isMissingSchema(error: unknown): boolean {
  return has(error, MISSING_SCHEMA);
}

/**
 * Makes an error of this library from the error of a whole transaction. It does not recognize
 * collisions, which may be about the application's own rows. If an error is of several kinds,
 * the first kind in the list counts.
 */
export const transactionFailure = storeFailureOf([
  {
    is: (error) => error instanceof UnusableConnectionError,
    text: (target, _, error) => (error as UnusableConnectionError).textFor(target),
    transient: true,
  },
  noAnswer('Check the load of the database, locks on the lock table and the size of the connection pool.'),
  {
    is: isReadOnly,
    text: (target, reason) =>
      `${target} takes no writes: ${reason}. It is a replica, or a writer that was demoted. Connect to the writer. The store closes such connections, and the next attempt uses another connection.`,
    transient: true,
  },
  {
    is: (error) => has(error, TAKEN_OUT),
    text: (target, reason) =>
      `the pool cluster of mysql2 has no server for ${target}: ${reason}. The cluster removes a server after some failed connections, for ever unless its option restoreNodeTimeout is set (in a DataSource, replication.restoreNodeTimeout).`,
    transient: true,
  },
  {
    is: (error) => STATEMENT_POOLING.test(String(driverError(error).message)),
    text: (target) =>
      `the pooler in front of ${target} is in statement mode, which allows no transaction. Set its mode to transaction (PgBouncer: pool_mode = transaction).`,
    transient: false,
  },
  brokenOff(isBrokenOff),
]);

/**
 * Makes an error of this library from an error of a driver. No other place in the library does
 * this.
 */
export const storeFailure: StoreFailure = (error, doing, target, owners) =>
  isContention(error) && !(error instanceof LockError)
    ? new CollisionError(doing, target, safeError(error, owners))
    : transactionFailure(error, doing, target, owners);

function isBrokenOff(error: unknown): boolean {
  const { code, errno, fatal, sqlState, message } = driverError(error);
  // The outcome of a failed commit is unknown, unless it failed because of a deadlock.
  if (errno === COMMIT_FAILED) return !isContention(error);
  return (
    has(error, BROKEN_OFF) ||
    [code, sqlState].some((state) => typeof state === 'string' && /^08...$/.test(state)) ||
    (fatal === true && sqlState === undefined) ||
    BROKEN_OFF_TEXT.test(String(message))
  );
}

function has(error: unknown, codes: ReadonlySet<unknown>): boolean {
  const { code, errno } = driverError(error);
  return codes.has(code) || codes.has(errno);
}

function driverError(error: unknown): DriverError {
  return typeof error === 'object' && error !== null ? error : {};
}

/** Awaits the work. Resolves to `collided` if it collided with other sessions. */
export async function unlessCollided<T>(work: Promise<T>, collided: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof CollisionError) return collided;
    throw error;
  }
}
