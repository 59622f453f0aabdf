import ms from 'ms';
import { LockError, show } from '../lock.errors.js';

type Unit =
  | 'ms'
  | 's'
  | 'sec'
  | 'm'
  | 'min'
  | 'h'
  | 'd'
  | 'second'
  | 'seconds'
  | 'minute'
  | 'minutes'
  | 'hour'
  | 'hours'
  | 'day'
  | 'days';

/**
 * A length of time: a number of milliseconds, or a string such as `'30s'`, `'1.5h'` or
 * `'2 minutes'`.
 *
 * @publicApi
 */
export type Duration = number | `${number}${Unit}` | `${number} ${Unit}`;

/**
 * The longest time that a timer can wait, in milliseconds: with a longer time, `setTimeout`
 * would fire at once.
 */
export const LONGEST_TIMER = 2 ** 31 - 1;

/** The limits of one duration option. */
export interface DurationLimits {
  /** The smallest value that is accepted, in milliseconds. */
  min: number;
  /** Whether `Infinity` is accepted. */
  infinite?: boolean;
}

// The longest duration that is accepted, in milliseconds. With a longer duration, the time at
// which it ends would not be a safe integer.
const LONGEST = 2 ** 52;

/**
 * Reads a duration option.
 *
 * @returns whole milliseconds, or `Infinity`
 * @throws LockError that names the option, the value and the limit
 */
export function parseDuration(
  option: string,
  value: unknown,
  { min, infinite = false }: DurationLimits,
): number {
  const parsed = typeof value === 'string' ? parseText(value) : value;
  const limits = `at least ${min} ms${infinite ? ', or Infinity' : ''}`;
  if (typeof parsed !== 'number' || Number.isNaN(parsed)) {
    throw new LockError(
      `${option} must be milliseconds or a string such as '30s' (${limits}), but it is ${show(value)}.`,
    );
  }
  if (parsed === Infinity && infinite) return parsed;
  if (parsed > LONGEST)
    throw new LockError(
      `${option} must be finite${infinite ? ' or Infinity' : ''} (${limits}), but it is ${show(value)}.`,
    );
  const rounded = Math.round(parsed);
  if (parsed < 0 || rounded < min) {
    const hint = parsed === -1 && infinite ? ' To wait or hold without end, use Infinity.' : '';
    throw new LockError(`${option} must be ${limits}, but it is ${show(value)}.${hint}`);
  }
  return rounded;
}

function parseText(text: string): number {
  // The package `ms` throws on an empty text, and on more than 100 characters.
  if (text.trim() === '' || text.length > 100) return Number.NaN;
  return (ms as (text: string) => number | undefined)(text) ?? Number.NaN;
}
