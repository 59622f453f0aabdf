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
   * What happens if all connections are in use. `'wait'` waits for a connection as long as the
   * acquisition waits, but at least 5 s; `'throw'` throws at once. Default `'wait'`.
   */
  whenFull?: 'wait' | 'throw' | undefined;
  /**
   * How often the store checks that each lock's connection still holds it. The store finds a
   * dead connection within this time plus up to 10 s. At least 100 ms, default 10 s.
   */
  keepAlive?: Duration | undefined;
  /**
   * Allows a pooler such as PgBouncer. This is safe only if the pooler gives each client its
   * own session. Default `false`.
   */
  allowPooler?: boolean | undefined;
}

/** Validated options, with the defaults filled in. */
export interface SessionSettings {
  maxConnections: number;
  whenFull: 'wait' | 'throw';
  /** In milliseconds. */
  keepAlive: number;
  /** Milliseconds in which a connection has to answer. */
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
 * The shortest limit for an answer in milliseconds, since a slow server may still be alive.
 */
const SHORTEST_LIMIT = 1_000;

/**
 * @param store the name of the store's class, for messages
 * @throws LockError that names the wrong option and its rule
 */
export function readSessionOptions(store: string, options: SessionStoreOptions): SessionSettings {
  assertKnownOptions(store, options, SESSION_OPTIONS);
  const { maxConnections, whenFull, keepAlive, allowPooler } = { ...DEFAULTS, ...given(options) };
  if (!Number.isSafeInteger(maxConnections) || maxConnections < 1)
    throw new LockError(
      `maxConnections must be a whole number from 1 on, but it is ${show(maxConnections)}. Each lock needs a connection.`,
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
