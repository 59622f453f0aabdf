import { LockError } from '../lock.errors.js';

/**
 * Refuses unknown options. With a misspelt name, the default would be used without a warning.
 */
export function assertKnownOptions(
  where: string,
  options: unknown,
  known: readonly string[],
): asserts options is object {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new LockError(
      `The options of ${where} must be an object, but they are ${options === null ? 'null' : typeof options}.`,
    );
  }
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new LockError(
      `${where} does not know the option ${unknown.map((name) => `"${name}"`).join(', ')}. It takes: ${known.join(', ')}.`,
    );
  }
}
