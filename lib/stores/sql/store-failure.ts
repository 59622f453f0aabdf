import { LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { brokenOff, NETWORK_CODES, noAnswer, storeFailureOf, type StoreFailure } from '../shared/failures.js';
import { faultOf, UnusableConnectionError, type ConnectionFault } from './unusable-connection.js';

/**
 * The operation collided with another session. It changed nothing, and the holder is unknown.
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
 * The fields of the drivers' errors: SQLSTATE or a system code, MySQL's error number and
 * state, PostgreSQL's severity.
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
 * Codes of collisions with other sessions. PostgreSQL: serialization failure, deadlock, lock
 * not available, unique violation. MySQL and MariaDB: the same, the code of SKIP LOCKED, and a
 * conflict with another member of a replication group.
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

/** Error 149 at a commit is a deadlock with a transaction on another member of the group. */
const COMMIT_FAILED = 1180;
const DEADLOCK_AT_COMMIT = /\berror:? 149\b/i;

const STALE_READ = new Set<unknown>([1020, 'SQLITE_BUSY_SNAPSHOT']);

/**
 * Codes of a server that takes no writes: a replica, or a writer that was demoted but has kept
 * its connections open. Another connection may lead to the new writer.
 */
const READ_ONLY = new Set<unknown>(['25006', 1036, 1792, 1836, 1874, 3100]);
/**
 * The code for an option of the server that forbids the statement. The option is not always
 * read-only.
 */
const FORBIDDEN_BY_OPTION = 1290;
const READ_ONLY_TEXT = /read[-_ ]only/i;

/**
 * Codes for a connection or a statement that was ended from outside, and for too many
 * connections.
 */
const POSTGRES_BROKEN_OFF = [
  '25P03',
  '25P04',
  '40003', // whether the statement was completed is unknown
  '53300',
  '57000', // Pgpool has lost a node
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
  2002, // also 2003, 2006, 2013: a proxy has lost its server
  2003,
  2006,
  2013,
  3024,
  3032, // also 6400: offline mode
  3168,
  3169,
  3781, // also 3782, 3783: a new primary applies its backlog
  3782,
  3783,
  3797, // also 3798: a member did not catch up with the group in time
  3798,
  4031,
  6400,
  9001, // ProxySQL has no server for this kind of statement
  'PROTOCOL_CONNECTION_LOST',
];
/** Codes of mysql2's pool cluster, which removes a server after some errors. */
const TAKEN_OUT = new Set<unknown>(['POOL_NOEXIST', 'POOL_NONEONLINE']);
const BROKEN_OFF = new Set<unknown>([
  ...POSTGRES_BROKEN_OFF,
  ...MYSQL_BROKEN_OFF,
  ...NETWORK_CODES,
  'ENOENT', // the server's socket file is missing
]);

/**
 * Messages of connection errors without a code, in pg and mysql2. The last ones are the errors
 * of pg, mysql2 and TypeORM for a closed pool, which the application may open again.
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
 * PgBouncer's message when it refuses a BEGIN. The message is needed, since broken connections
 * have the same code, 08P01.
 */
const STATEMENT_POOLING = /not allowed in statement pooling mode/i;

const MISSING_TABLE = new Set<unknown>(['42P01', 1146]);
/**
 * Codes for a missing right. PostgreSQL: insufficient privilege. MySQL: no right on a
 * database, a table or a column, or for the operation.
 */
const DENIED = new Set<unknown>(['42501', 1044, 1142, 1143, 1227]);
/**
 * The code of MySQL and MariaDB for a transaction at READ COMMITTED while the binary log
 * records statements.
 */
const NOT_LOGGABLE = new Set<unknown>([1665]);
const EXISTING_TABLE = new Set<unknown>([1050]);
const MISSING_SCHEMA = new Set<unknown>(['3F000', 1049]);

/**
 * Whether the statement collided with another session. It changed nothing, and the holder is
 * unknown.
 */
export function isContention(error: unknown): boolean {
  const { code, errno, message } = driverError(error);
  if (errno === COMMIT_FAILED) return DEADLOCK_AT_COMMIT.test(String(message));
  return has(error, COLLISION_CODES) || String(code).startsWith('SQLITE_BUSY');
}

/** Whether the server takes no writes: a replica, or a writer that was demoted. */
export function isReadOnly(error: unknown): boolean {
  const { errno, message } = driverError(error);
  if (errno === FORBIDDEN_BY_OPTION) return READ_ONLY_TEXT.test(String(message));
  return has(error, READ_ONLY);
}

/** The fault of the connection that an error shows, if any. */
export function faultShownBy(error: unknown): ConnectionFault | undefined {
  return isReadOnly(error) ? 'readOnly' : faultOf(error);
}

/**
 * Whether another session has changed rows that the transaction has read, so that it may not
 * go on. MariaDB and SQLite report that.
 */
export function isStaleRead(error: unknown): boolean {
  return has(error, STALE_READ);
}

/** Whether the database refused the statement, on a connection that can still be used. */
export function isServerAnswer(error: unknown): boolean {
  const { severity, sqlState, fatal, code } = driverError(error);
  const answered =
    typeof severity === 'string' || typeof sqlState === 'string' || String(code).startsWith('SQLITE_');
  const ended = fatal === true || severity === 'FATAL' || severity === 'PANIC';
  return answered && !ended && !isBrokenOff(error) && !isReadOnly(error);
}

/**
 * @param table the table's name, if other tables may be missing too, for example in a trigger
 */
export function isMissingTable(error: unknown, table = ''): boolean {
  const message = String(driverError(error).message);
  return (has(error, MISSING_TABLE) || message.startsWith('no such table')) && message.includes(table);
}

/** Whether the user lacks a right, or SQLite's file cannot be written. */
export function isDenied(error: unknown): boolean {
  return has(error, DENIED) || /^SQLITE_(READONLY|CANTOPEN|PERM)/.test(String(driverError(error).code));
}

/**
 * Whether the server cannot log the write, since its binary log records statements and the
 * transaction is at READ COMMITTED. This does not affect locks, which are written outside of
 * transactions.
 */
export function isNotLoggable(error: unknown): boolean {
  return has(error, NOT_LOGGABLE);
}

/** Whether a table with this name already exists, on MySQL and MariaDB. */
export function isExistingTable(error: unknown): boolean {
  return has(error, EXISTING_TABLE);
}

export function isMissingSchema(error: unknown): boolean {
  return has(error, MISSING_SCHEMA);
}

/**
 * Makes an error of this library from the error of a whole transaction. A collision is not
 * recognized here, since it may be about the application's own rows. If an error fits several
 * kinds, the first kind counts.
 */
export const transactionFailure = storeFailureOf([
  {
    is: (error) => error instanceof UnusableConnectionError,
    text: (target, _, error) => (error as UnusableConnectionError).textFor(target),
    transient: true,
  },
  noAnswer('Check its load, locks on the table and the size of the connection pool.'),
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

/** The only place where errors of drivers become errors of this library. */
export const storeFailure: StoreFailure = (error, doing, target, owners) =>
  isContention(error) && !(error instanceof LockError)
    ? new CollisionError(doing, target, safeError(error, owners))
    : transactionFailure(error, doing, target, owners);

function isBrokenOff(error: unknown): boolean {
  const { code, errno, fatal, sqlState, message } = driverError(error);
  // If a commit failed for another reason than a deadlock, its outcome is unknown.
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

/** Resolves to `collided` if the work collided with other sessions. */
export async function unlessCollided<T>(work: Promise<T>, collided: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof CollisionError) return collided;
    throw error;
  }
}
