import { LONGEST_TIMER, parseDuration, type Duration } from '../../../options/duration.js';
import { LockError, show } from '../../../lock.errors.js';
import { OPERATION_LIMIT } from '../../shared/operation-limit.js';
import { assertKnownOptions } from '../../../options/known-options.js';

/** What all stores of session locks have. @publicApi */
export interface SessionStoreOptions {
  /**
   * How many connections the store may open: each lock that is held, kept or waited for needs
   * one. Default 20.
   */
  maxConnections?: number | undefined;
  /**
   * When all connections are in use: `'wait'` for one as long as the acquisition waits, but at
   * least 5 s, or `'throw'` at once. Default `'wait'`.
   */
  whenFull?: 'wait' | 'throw' | undefined;
  /**
   * How often the store checks that the connection of each lock still holds it. A dead
   * connection is found after this time and up to 10 s more. At least 100 ms, default 10 s.
   */
  keepAlive?: Duration | undefined;
  /**
   * Allows a pooler such as PgBouncer. That is right only if the pooler gives each client a
   * session of its own. Default `false`.
   */
  allowPooler?: boolean | undefined;
}

/** Options of the store, read and completed. */
export interface SessionSettings {
  maxConnections: number;
  whenFull: 'wait' | 'throw';
  /** Milliseconds. */
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
/** A server that is slow for a moment has not gone away. */
const SHORTEST_LIMIT = 1_000;

/**
 * @param store the name of the store's class, for messages
 * @throws LockError that names the option that is wrong, and the rule
 */
export function readSessionOptions(store: string, options: SessionStoreOptions): SessionSettings {
  assertKnownOptions(store, options, SESSION_OPTIONS);
  const { maxConnections, whenFull, keepAlive, allowPooler } = { ...DEFAULTS, ...given(options) };
  if (!Number.isSafeInteger(maxConnections) || maxConnections < 1)
    throw new LockError(
      `maxConnections must be a whole number from 1 on, but it is ${show(maxConnections)}. Each lock needs one.`,
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
