import { createHash } from 'node:crypto';
import { LockError } from '../lock.errors.js';

/** The length of the longest key that is accepted, in bytes of UTF-8. @publicApi */
export const MAX_KEY_BYTES = 4096;

/** The number of bytes that fit into the key column of every database. */
const LONGEST_STORED = 255;

const FITTED = /~sha256:[0-9a-f]{64}$/;
const SUFFIX_BYTES = '~sha256:'.length + 64;

/**
 * Refuses every key but a non-empty, well-formed string without NUL, of at most 4096 bytes.
 *
 * Stores call it before any statement, since a number or an array that reaches a driver can
 * match every row or break the SQL.
 *
 * @throws LockError that says what is wrong with it
 * @publicApi
 */
export function assertKey(key: unknown): asserts key is string {
  if (typeof key !== 'string')
    throw new LockError(
      `A lock key must be a string, but it is ${kindOf(key)}. Make it a string: \`order:\${id}\`.`,
    );
  if (key === '') throw new LockError('A lock key must not be empty. Give the name of what is locked.');
  const problem = textProblem(key);
  if (problem) throw new LockError(`The lock key ${JSON.stringify(excerpt(key))} ${problem}.`);
  // Short enough, since a character has at most three bytes.
  if (key.length * 3 <= MAX_KEY_BYTES) return;
  const bytes = Buffer.byteLength(key);
  if (bytes > MAX_KEY_BYTES) {
    throw new LockError(
      `The lock key "${excerpt(key)}" has ${bytes} bytes; the limit is ${MAX_KEY_BYTES}. Use an id or a hash of the content as the key.`,
    );
  }
}

/**
 * Refuses an owner id that a store could mistake for another id. An owner id must be a
 * non-empty, well-formed string without NUL.
 *
 * @publicApi
 */
export function assertOwner(owner: unknown): asserts owner is string {
  if (typeof owner !== 'string' || owner === '')
    throw new LockError(
      `A lock owner must be a non-empty string, but it is ${owner === '' ? 'empty' : kindOf(owner)}.`,
    );
  const problem = textProblem(owner);
  // The message must not show the id: code that knows the id can release the lock.
  if (problem) throw new LockError(`The lock owner ${problem}.`);
}

/**
 * Says why some database would not store the string unchanged; `undefined` if every database
 * would store it unchanged.
 */
export function textProblem(text: string): string | undefined {
  if (text.includes('\0')) return 'contains a NUL character. Remove it';
  if (!text.isWellFormed())
    return 'contains a lone surrogate (half of a character). Use String.prototype.toWellFormed()';
  return undefined;
}

/**
 * Gives the form in which a store with a limited column keeps a key: the key itself if it
 * fits, otherwise its readable start and the SHA-256 of the whole.
 *
 * A short key that looks like a shortened key is hashed, too, so that no two keys share a row.
 *
 * @publicApi
 */
export function fitKey(key: string): string {
  assertKey(key);
  // A key this short fits, even if each of its characters has three bytes.
  if (key.length < SUFFIX_BYTES) return key;
  const bytes = Buffer.from(key);
  if (bytes.length <= LONGEST_STORED && !FITTED.test(key)) return key;
  let end = Math.min(bytes.length, LONGEST_STORED - SUFFIX_BYTES);
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--; // so that no character is cut in two
  return `${bytes.subarray(0, end).toString()}~sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/**
 * Gives the form in which a store looks for a key that an operator names. It is the result of
 * {@link fitKey}. A key that is already in the shortened form comes from a list of locks, and
 * stays as it is.
 *
 * @publicApi
 */
export function storedKey(key: string): string {
  assertKey(key);
  return FITTED.test(key) && Buffer.byteLength(key) <= LONGEST_STORED ? key : fitKey(key);
}

function excerpt(key: string): string {
  return key.length > 40 ? `${key.slice(0, 40).toWellFormed()}…` : key;
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? 'an array' : `of type ${typeof value}`;
}
