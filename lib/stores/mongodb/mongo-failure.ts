import { LockStoreError, type LockError } from '../../lock.errors.js';
import { brokenOff, NETWORK_CODES, noAnswer, storeFailureOf } from '../shared/failures.js';

/**
 * The fields of the driver's errors. The store recognizes errors by fields and names instead
 * of classes, since an application may have several copies of the driver.
 */
interface DriverError {
  name?: unknown;
  message?: unknown;
  code?: unknown;
  /** The underlying error of a failed bulk write, which may be a network error. */
  errorResponse?: unknown;
  hasErrorLabel?: (label: string) => boolean;
  /** The documents that a bulk write could not write. */
  writeErrors?: unknown;
  result?: { getWriteConcernError?: () => unknown };
}

/**
 * Codes for a write conflict, and for a duplicate key, when two processes insert the same key.
 */
const COLLISION_CODES = new Set<unknown>([11000, 112]);

/**
 * Codes for an unknown outcome: elections, shutdown, time limits, too few members for the
 * write concern, or a router that finds no primary or no signing key yet.
 */
const BROKEN_OFF = new Set<unknown>([
  6, 7, 50, 64, 89, 91, 133, 134, 189, 202, 211, 262, 279, 317, 358, 365, 9001, 10058, 10107, 11600, 11601,
  11602, 13388, 13435, 13436,
]);

/** Servers and proxies send these messages during an election, without a code. */
const NOT_PRIMARY_TEXT = /not master|not primary|node is recovering/i;

/**
 * Names of the driver's errors, and codes of Node: the error of a write to a closed socket
 * can reach the store unchanged.
 */
const NETWORK = new Set<unknown>([
  ...NETWORK_CODES,
  'MongoNetworkError',
  'MongoNetworkTimeoutError',
  'MongoOperationTimeoutError',
  'MongoPoolClearedError',
  'MongoServerSelectionError',
  'MongoWaitQueueTimeoutError',
  'MongoWriteConcernError',
  'PoolClearedOnNetworkError',
]);

/**
 * Names of the errors that the driver throws after the application has closed its client. The
 * application may connect the client again.
 */
const CLOSED = new Set<unknown>([
  'MongoClientClosedError',
  'MongoExpiredSessionError',
  'MongoNotConnectedError',
  'MongoPoolClosedError',
  'MongoServerClosedError',
  'MongoTopologyClosedError',
]);

const NOT_ALLOWED = new Set<unknown>([13, 18, 8000]);

/**
 * Whether the command collided with another attempt. It changed nothing, and the holder is
 * unknown.
 */
export function isContention(error: unknown): boolean {
  return COLLISION_CODES.has(driverError(error).code);
}

/** Whether the pipeline of an attempt failed on purpose, because of a tick too far ahead. */
export function isConversionFailure(error: unknown): boolean {
  return driverError(error).code === 241;
}

/** Whether the document has changed since the transaction began. */
export function isWriteConflict(error: unknown): boolean {
  return driverError(error).code === 112;
}

/**
 * A write that failed inside a transaction. The driver repeats a transaction only after its
 * own errors, so `forDriver` returns the original error. No property shows the original error,
 * which may contain owner ids.
 */
export class TransactionWriteError extends LockStoreError {
  readonly #original: unknown;

  constructor(failure: LockStoreError, original: unknown) {
    super(failure.message, { cause: failure.cause, transient: failure.transient });
    this.#original = original;
  }

  /**
   * Returns the driver's error if it makes the driver repeat the transaction, and otherwise
   * the given error.
   */
  static forDriver(error: unknown): unknown {
    if (typeof error !== 'object' || error === null || !(#original in error)) return error;
    return hasLabel(error.#original, 'TransientTransactionError') ? error.#original : error;
  }
}

/**
 * Whether the server gave up the operation because of its `maxTimeMS`. In a bulk write,
 * another document may have used up the time.
 */
export function isOutOfTime(error: unknown): boolean {
  return driverError(error).code === 50;
}

/**
 * Whether a bulk write has failed for some documents only, while the others were written and
 * acknowledged. If the write concern failed too, the result is `false`.
 */
export function failedWritesOnly(error: unknown): boolean {
  const { writeErrors, result } = driverError(error);
  const some = Array.isArray(writeErrors) && writeErrors.length > 0;
  return some && result?.getWriteConcernError?.() === undefined;
}

/** Whether the user lacks a right. */
export function isUnauthorized(error: unknown): boolean {
  return driverError(error).code === 13;
}

/** Makes the error of a failed commit, which says so if the outcome is unknown. */
export function commitFailure(error: unknown, target: string): LockError {
  const failure = storeFailure(error, 'commit a transaction', target);
  const unknown = hasLabel(error, 'UnknownTransactionCommitResult') || driverError(error).code === 64;
  if (!unknown && !(failure instanceof LockStoreError && failure.transient)) return failure;
  return new LockStoreError(
    `${failure.message} The transaction may have been committed nevertheless: check what it wrote before you repeat it.`,
    { cause: failure.cause },
  );
}

/** Whether a database or collection does not exist yet. */
export function isMissingCollection(error: unknown): boolean {
  return driverError(error).code === 26;
}

/**
 * The only place where errors of the driver become errors of this library. If an error fits
 * several kinds, the first kind counts.
 */
export const storeFailure = storeFailureOf([
  noAnswer(
    'Check the load of the server, elections and the size of the connection pool, and look for a transaction that stays open.',
  ),
  {
    is: (error) => CLOSED.has(driverError(error).name),
    text: (target) =>
      `the client of ${target} was closed. Connect it again, or pass a client that stays open as long as the application.`,
    transient: true,
  },
  {
    is: (error) => NOT_ALLOWED.has(driverError(error).code),
    text: (target, reason) =>
      `${target} refused the user (${reason}). Check user, password and authSource. The role needs find, insert and update on the collection, and remove to purge.`,
    transient: false,
  },
  brokenOff(isBrokenOff),
]);

function isBrokenOff(error: unknown): boolean {
  const { name, code, message } = driverError(error);
  if (NETWORK.has(name) || NETWORK.has(code) || BROKEN_OFF.has(code) || isContention(error)) return true;
  if (code === undefined && NOT_PRIMARY_TEXT.test(String(message))) return true;
  return hasLabel(error, 'RetryableWriteError', 'TransientTransactionError');
}

function hasLabel(error: unknown, ...labels: string[]): boolean {
  const found = driverError(error);
  return labels.some((label) => found.hasErrorLabel?.(label));
}

function driverError(error: unknown): DriverError {
  const found: DriverError = typeof error === 'object' && error !== null ? error : {};
  return found.errorResponse instanceof Error ? found.errorResponse : found;
}
