import { createHash } from 'node:crypto';
import type { LeaseRenewal, ListRequest } from '../../interfaces/lock-store.interface.js';
import { assertOwner, fitKey, textProblem } from '../../lock-key.js';
import { LockError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from './lock-dialect.js';

const OWNER_BYTES = 64;
const LABEL_CHARACTERS = 255;
const LARGEST_PAGE = 1000;
const SHORTEST_LIMIT = 1_000;

/** A key and an owner as they are stored. An owner that is too long for the column is kept as its SHA-256. */
export function identityOf(key: string, owner: string): { key: string; owner: string } {
  const stored = fitKey(key);
  assertOwner(owner);
  const fits = Buffer.byteLength(owner) <= OWNER_BYTES;
  return { key: stored, owner: fits ? owner : createHash('sha256').update(owner).digest('hex') };
}

/** A lease as it is stored. */
export function leaseOf(key: string, owner: string, ttl: number): LeaseRenewal {
  return { ...identityOf(key, owner), ttl: milliseconds('ttl', ttl) };
}

/** Whole milliseconds, rounded up: a lease must not end before its holder believes that it does. */
export function milliseconds(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0)
    return Math.min(Math.ceil(value), Number.MAX_SAFE_INTEGER);
  throw new LockError(
    `${name} must be a finite number of milliseconds above 0, but it is ${String(value)}. Number.MAX_SAFE_INTEGER never expires.`,
  );
}

/**
 * Milliseconds within which acquire or renew must be answered: a third of the ttl, so that another try still fits into the lease; but no
 * connection is thrown away for being slow during a moment.
 */
export function limitOf(ttl: number): number {
  return Math.min(Math.max(ttl / 3, SHORTEST_LIMIT), OPERATION_LIMIT);
}

/** A label is for people: what the column cannot keep is left out, rather than a lock refused because of it. */
export function labelOf(label: string | undefined): string | null {
  return label === undefined ? null : label.replaceAll('\0', '').slice(0, LABEL_CHARACTERS).toWellFormed();
}

/** @throws LockError for a page that cannot be read */
export function assertPage({ prefix = '', after = '', limit }: ListRequest): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > LARGEST_PAGE)
    throw new LockError(
      `A page of locks has 1 to ${LARGEST_PAGE} of them, but limit is ${String(limit)}. Read on with \`after\`.`,
    );
  for (const [name, value] of Object.entries({ prefix, after })) {
    const problem = typeof value === 'string' ? textProblem(value) : 'is not a string';
    if (problem) throw new LockError(`The ${name} of the keys to list ${problem}.`);
  }
}
