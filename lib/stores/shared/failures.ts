import { clause, LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { NoAnswerError } from './operation-limit.js';

/**
 * Makes an error of this library from any error.
 *
 * @param doing the operation that failed, such as `acquire "nightly-report"`
 * @param target the database, as messages name it: host, port and database, without any secret
 * @param owners the owner ids that the operation has used, which no text and no property of
 * the result may show
 */
export type StoreFailure = (
  error: unknown,
  doing: string,
  target: string,
  owners?: readonly string[],
) => LockError;

/** One kind of failure. */
export interface FailureKind {
  is: (error: unknown) => boolean;
  /**
   * The rest of the message, after `Could not acquire "nightly-report": `.
   *
   * @param reason the message and code of the driver's error
   */
  text: (target: string, reason: string, error: unknown) => string;
  /** Whether the operation may be repeated, although its outcome is unknown. */
  transient: boolean;
}

/** Codes of Node for connections that could not be opened or that broke. */
export const NETWORK_CODES: readonly string[] = [
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'EAI_FAIL',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETRESET',
  'ENETUNREACH',
  'ENOTCONN',
  'ENOTFOUND',
  'EPIPE',
  'ERR_SOCKET_CLOSED',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
  'ETIMEDOUT',
];

/** @param advice a sentence for the message that says where to look for the cause */
export function noAnswer(advice: string): FailureKind {
  return {
    is: (error) => error instanceof NoAnswerError,
    text: (target, reason) => `${target} gave ${reason}. ${advice}`,
    transient: true,
  };
}

export function brokenOff(is: (error: unknown) => boolean): FailureKind {
  return {
    is,
    text: (target, reason) => `${target} cannot be reached, or the connection broke: ${reason}.`,
    transient: true,
  };
}

const OTHER: FailureKind = {
  is: () => true,
  text: (target, reason) => `${target} failed: ${reason}.`,
  transient: false,
};

/** @param kinds in the order of precedence: the first kind that fits is used */
export function storeFailureOf(kinds: readonly FailureKind[]): StoreFailure {
  return (error, doing, target, owners) => {
    if (error instanceof LockError) return error;
    const cause = safeError(error, owners);
    const kind = kinds.find(({ is }) => is(error)) ?? OTHER;
    const text = kind.text(target, reasonOf(cause), error);
    return new LockStoreError(`Could not ${doing}: ${text}`, { cause, transient: kind.transient });
  };
}

/** The message and the code of a driver's error. */
function reasonOf(cause: unknown): string {
  const found = Object(cause) as { message?: unknown; code?: unknown; codeName?: unknown };
  const code = found.codeName ?? found.code;
  return (
    [
      typeof found.message === 'string' && clause(found.message),
      (typeof code === 'string' || typeof code === 'number') && `(${code})`,
    ]
      .filter(Boolean)
      .join(' ') || 'see the cause'
  );
}
