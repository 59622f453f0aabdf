import type { ListRequest, PurgeRequest } from '../../interfaces/lock-store.interface.js';
import { textProblem } from '../../options/lock-key.js';
import { LockError } from '../../lock.errors.js';
import { show } from '../../error-text.js';

const LARGEST_PAGE = 1000;

/** The last moment that a date has, in epoch milliseconds. */
export const LATEST = 8.64e15;

/** Whole milliseconds, rounded up: a lease must not end before its holder believes that it does. */
export function milliseconds(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0)
    return Math.min(Math.ceil(value), Number.MAX_SAFE_INTEGER);
  const endless = name === 'ttl' ? ' Number.MAX_SAFE_INTEGER never expires.' : '';
  throw new LockError(
    `${name} must be a finite number of milliseconds above 0, but it is ${show(value)}.${endless}`,
  );
}

/** @throws LockError for what is no outcome */
export function assertOutcome(outcome: unknown): void {
  if (outcome === 'done' || outcome === 'failed') return;
  throw new LockError(`The outcome of a run must be 'done' or 'failed', but it is ${show(outcome)}.`);
}

/** @throws LockError for a page that cannot be read */
export function assertPage({ prefix = '', after = '', limit }: ListRequest): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > LARGEST_PAGE)
    throw new LockError(
      `A page of locks has 1 to ${LARGEST_PAGE} of them, but limit is ${show(limit)}. Read on with \`after\`.`,
    );
  assertText('list', { prefix, after });
}

/**
 * The request, read. An age that was left out must not mean "all".
 *
 * @throws LockError for keys or an age that cannot be read
 */
export function purgeOf({ prefix = '', olderThan }: PurgeRequest): Required<PurgeRequest> {
  assertText('purge', { prefix });
  if (typeof olderThan === 'number' && Number.isFinite(olderThan) && olderThan >= 0)
    return { prefix, olderThan: Math.min(Math.ceil(olderThan), Number.MAX_SAFE_INTEGER) };
  throw new LockError(
    `olderThan must be a finite number of milliseconds, 0 or more, but it is ${show(olderThan)}.`,
  );
}

function assertText(doing: string, texts: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(texts)) {
    const problem = typeof value === 'string' ? textProblem(value) : 'is not a string';
    if (problem) throw new LockError(`The ${name} of the keys to ${doing} ${problem}.`);
  }
}
