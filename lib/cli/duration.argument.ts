import { InvalidArgumentError } from 'commander';
import { parseDuration, type DurationLimits } from '../options/duration.js';
import { LockError } from '../lock.errors.js';

const BARE_NUMBER = /^[\d.]+$/;

/**
 * Reads a duration from the command line. It refuses a number without a unit, since that would
 * be ambiguous: `flock -w 5` means seconds, and this library means milliseconds.
 */
export function durationArgument(name: string, limits: DurationLimits): (text: string) => number {
  return (text) => {
    if (BARE_NUMBER.test(text) && Number(text) !== 0)
      throw new InvalidArgumentError(`Give the unit: ${text}s, ${text}ms or ${text}m.`);
    const value = /^inf(inity)?$/i.test(text) ? Infinity : /^0+$/.test(text) ? 0 : text;
    try {
      return parseDuration(name, value, limits);
    } catch (error) {
      if (error instanceof LockError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}
