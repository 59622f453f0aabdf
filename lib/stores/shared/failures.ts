import { clause, LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { NoAnswerError } from './operation-limit.js';

/**
 * Makes an error of this library from any error.
 *
 * @param doing what failed, such as `acquire "nightly-report"`
 * @param target the database, for people: host, port and database, nothing secret
 * @param owners the owner ids that the operation has used. No text and no property of the
 * result shows them
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
   * Goes on after `Could not acquire "nightly-report": `.
   *
   * @param reason what the driver said
   */
  text: (target: string, reason: string, error: unknown) => string;
  /** Whether the outcome is unknown, and the operation may be repeated. */
  transient: boolean;
}

/** Codes of Node for connections that were not made, or broke off. */
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

/** @param advice where to look for the cause */
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
    text: (target, reason) => `${target} cannot be reached, or broke off: ${reason}.`,
    transient: true,
  };
}

const OTHER: FailureKind = {
  is: () => true,
  text: (target, reason) => `${target} failed: ${reason}.`,
  transient: false,
};

/** @param kinds in order; the first kind that fits is taken */
export function storeFailureOf(kinds: readonly FailureKind[]): StoreFailure {
  return (error, doing, target, owners) => {
    if (error instanceof LockError) return error;
    const cause = safeError(error, owners);
    const kind = kinds.find(({ is }) => is(error)) ?? OTHER;
    const text = kind.text(target, reasonOf(cause), error);
    return new LockStoreError(`Could not ${doing}: ${text}`, { cause, transient: kind.transient });
  };
}

/** What a driver said, and its code. */
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
