import { LockError, LockStoreError } from '../../lock.errors.js';
import { NoAnswerError } from '../time-limit.js';

/** Sessions collided: nothing was changed, and nothing is known about the holder. */
export class CollisionError extends LockStoreError {
  constructor(doing: string, target: string, cause?: unknown) {
    super(
      `Could not ${doing}: in ${target} the row is locked by another session. Look for a transaction that stays open.`,
      { cause, transient: true },
    );
  }
}

/** What drivers put on their errors: SQLSTATE or a system code, MySQL's number and state, PostgreSQL's severity. */
interface DriverError {
  message?: unknown;
  code?: unknown;
  errno?: unknown;
  sqlState?: unknown;
  severity?: unknown;
  fatal?: unknown;
}

/** PostgreSQL: serialization failure, deadlock, lock not available, unique violation. MySQL and MariaDB: the same, and SKIP LOCKED's own. */
const CONTENTION = new Set<unknown>(['40001', '40P01', '55P03', '23505', 1020, 1062, 1205, 1213, 3572]);

const STALE_READ = new Set<unknown>([1020, 'SQLITE_BUSY_SNAPSHOT']);

/** The connection, or the statement on it, was ended from outside, or there are too many connections. */
const POSTGRES_BROKEN_OFF = ['57014', '57P01', '57P02', '57P03', '57P05', '25P03', '53300'];
const MYSQL_BROKEN_OFF = [1040, 1053, 1203, 1317, 1927, 1969, 3024, 'PROTOCOL_CONNECTION_LOST'];
const NETWORK = [
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOENT', // of a server's socket file
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
];
const BROKEN_OFF = new Set<unknown>([...POSTGRES_BROKEN_OFF, ...MYSQL_BROKEN_OFF, ...NETWORK]);

/** pg and mysql2 give some of their connection errors no code. */
const BROKEN_OFF_TEXT =
  /connection terminated|timeout exceeded when trying to connect|not queryable|query read timeout|closed state|queue limit|no connections available|query runner already released/i;

const MISSING_TABLE = new Set<unknown>(['42P01', 1146]);
const MISSING_SCHEMA = new Set<unknown>(['3F000', 1049]);

/** Whether sessions collided: nothing was changed, and nothing is known about the holder. */
export function isContention(error: unknown): boolean {
  return has(error, CONTENTION) || String(driverError(error).code).startsWith('SQLITE_BUSY');
}

/** Whether the transaction has read something that others have changed since, and may not go on: MariaDB's and SQLite's ways to say so. */
export function isStaleRead(error: unknown): boolean {
  return has(error, STALE_READ);
}

/** Whether the server itself said no, on a connection that is as good as before. */
export function isServerAnswer(error: unknown): boolean {
  const { severity, sqlState, fatal } = driverError(error);
  const answered = typeof severity === 'string' || typeof sqlState === 'string';
  return answered && fatal !== true && !isBrokenOff(error);
}

export function isMissingTable(error: unknown): boolean {
  return has(error, MISSING_TABLE) || String(driverError(error).message).startsWith('no such table');
}

export function isMissingSchema(error: unknown): boolean {
  return has(error, MISSING_SCHEMA);
}

/**
 * The one place where errors of drivers become ours.
 *
 * @param doing what failed, such as `acquire "nightly-report"`
 * @param target the database, for people: it names host, port and database, nothing secret
 */
export function storeFailure(error: unknown, doing: string, target: string): LockError {
  if (error instanceof LockError) return error;
  forgetStatement(error);
  if (isContention(error)) return new CollisionError(doing, target, error);
  return failureOf(error, doing, target);
}

/** The same for a transaction as a whole, which collides with others about rows that are not ours. */
export function transactionFailure(error: unknown, doing: string, target: string): LockError {
  if (error instanceof LockError) return error;
  forgetStatement(error);
  return failureOf(error, doing, target);
}

function failureOf(error: unknown, doing: string, target: string): LockStoreError {
  if (error instanceof NoAnswerError) {
    return new LockStoreError(
      `Could not ${doing}: ${target} gave ${error.message}. Look at its load, at locks on the table and at the size of the connection pool.`,
      { cause: error, transient: true },
    );
  }
  if (isBrokenOff(error)) {
    return new LockStoreError(
      `Could not ${doing}: ${target} cannot be reached, or broke off: ${reasonOf(error)}.`,
      { cause: error, transient: true },
    );
  }
  return new LockStoreError(`Could not ${doing}: ${target} failed: ${reasonOf(error)}.`, { cause: error });
}

/** mysql2 and TypeORM put the statement on their errors, with the owner ids in it; errors are logged. */
function forgetStatement(error: unknown): void {
  if (typeof error !== 'object' || error === null) return;
  for (const property of ['sql', 'query', 'parameters']) Reflect.deleteProperty(error, property);
}

function isBrokenOff(error: unknown): boolean {
  const { code, fatal, sqlState, message } = driverError(error);
  return (
    has(error, BROKEN_OFF) ||
    [code, sqlState].some((state) => typeof state === 'string' && /^08...$/.test(state)) ||
    (fatal === true && sqlState === undefined) ||
    BROKEN_OFF_TEXT.test(String(message))
  );
}

function reasonOf(error: unknown): string {
  const { message, code } = driverError(error);
  return (
    [message, (typeof code === 'string' || typeof code === 'number') && `(${code})`]
      .filter(Boolean)
      .join(' ') || 'see the cause'
  );
}

function has(error: unknown, codes: ReadonlySet<unknown>): boolean {
  const { code, errno } = driverError(error);
  return codes.has(code) || codes.has(errno);
}

function driverError(error: unknown): DriverError {
  return typeof error === 'object' && error !== null ? error : {};
}
