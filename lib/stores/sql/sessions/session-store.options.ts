import { LONGEST_TIMER, parseDuration, type Duration } from '../../../options/duration.js';
import { LockError, show } from '../../../lock.errors.js';
import { OPERATION_LIMIT } from '../../shared/operation-limit.js';
import { assertKnownOptions } from '../../../options/known-options.js';

/** The options that all stores of session locks have. @publicApi */
export interface SessionStoreOptions {
  /**
   * How many connections the store may open. Each held lock needs a connection, and so does
   * each wait and each lock that a release keeps taken. Default 20.
   */
  maxConnections?: number | undefined;
  /**
   * What an acquisition does if all connections are in use. With `'wait'` it waits for a
   * connection as long as for the lock, but at least 5 s; with `'throw'` it throws at once.
   * Default `'wait'`.
   */
  whenFull?: 'wait' | 'throw' | undefined;
  /**
   * The time between two checks that the connection of a lock still holds the lock. The store
   * finds a dead connection within this time plus up to 10 s. At least 100 ms, default 10 s.
   */
  keepAlive?: Duration | undefined;
  /**
   * Allows a pooler such as PgBouncer. This is safe only if the pooler gives each client its
   * own session. Default `false`.
   */
  allowPooler?: boolean | undefined;
}

/** The validated options, with defaults for the options that were not given. */
export interface SessionSettings {
  maxConnections: number;
  whenFull: 'wait' | 'throw';
  /** Milliseconds between two checks that the connection of a lock still holds the lock. */
  keepAlive: number;
  /** How many milliseconds a connection may take for an answer. */
  answerLimit: number;
  allowPooler: boolean;
}

export const SESSION_OPTIONS = ['maxConnections', 'whenFull', 'keepAlive', 'allowPooler'] as const;
const DEFAULTS: Required<SessionStoreOptions> = {
  maxConnections: 20,
  whenFull: 'wait',
  keepAlive: 10_000,
  allowPooler: false,
};
/**
 * A connection may take at least this number of milliseconds for an answer, since a slow
 * server may still be alive.
 */
const SHORTEST_LIMIT = 1_000;

/**
 * Validates the options and fills in the defaults.
 *
 * @param store the name of the store's class, for messages
 * @throws LockError that names the wrong option and its rule
 */
export function readSessionOptions(store: string, options: SessionStoreOptions): SessionSettings {
  assertKnownOptions(store, options, SESSION_OPTIONS);
  const { maxConnections, whenFull, keepAlive, allowPooler } = { ...DEFAULTS, ...given(options) };
  if (!Number.isSafeInteger(maxConnections) || maxConnections < 1)
    throw new LockError(
      `maxConnections must be a whole number of at least 1, but it is ${show(maxConnections)}. Each lock needs a connection.`,
    );
  if (whenFull !== 'wait' && whenFull !== 'throw')
    throw new LockError(`whenFull must be 'wait' or 'throw', but it is ${show(whenFull)}.`);
  if (typeof allowPooler !== 'boolean')
    throw new LockError(`allowPooler must be true or false, but it is ${show(allowPooler)}.`);
  const interval = Math.min(parseDuration('keepAlive', keepAlive, { min: 100 }), LONGEST_TIMER);
  const answerLimit = Math.min(Math.max(interval, SHORTEST_LIMIT), OPERATION_LIMIT);
  return { maxConnections, whenFull, keepAlive: interval, answerLimit, allowPooler };
}

function given(options: SessionStoreOptions): SessionStoreOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
