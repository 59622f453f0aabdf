import { createHash } from 'node:crypto';
import type { LockOutcome } from '../../interfaces/lock-record.interface.js';
import type { LeaseRenewal, WaiterRequest } from '../../interfaces/lock-store.interface.js';
import { assertOwner, fitKey } from '../../options/lock-key.js';
import { LockError } from '../../lock.errors.js';
import { assertOutcome, milliseconds } from './store-arguments.js';
import { OPERATION_LIMIT } from './time-limit.js';

const OWNER_BYTES = 64;
const LABEL_CHARACTERS = 255;
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

/** A lock that goes from one owner to the next, as it is stored. */
export interface Passing {
  key: string;
  owner: string;
  /** How the run of this owner ended. */
  outcome: LockOutcome;
  nextOwner: string;
  ttl: number;
  label: string | null;
}

/** @throws LockError for a successor that is none */
export function passingOf(
  key: string,
  owner: string,
  next: WaiterRequest,
  outcome: LockOutcome = 'done',
): Passing {
  assertOutcome(outcome);
  assertSuccessor(owner, next);
  const { owner: nextOwner, ttl } = leaseOf(key, next.owner, next.ttl);
  return { ...identityOf(key, owner), outcome, nextOwner, ttl, label: labelOf(next.label) };
}

/** The same request, carried out twice, would pass the lock on to its own holder. @throws LockError */
export function assertSuccessor(owner: string, next: WaiterRequest): void {
  if (owner === next.owner)
    throw new LockError('A lock is passed on to another owner, but this one has it already.');
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
  if (label !== undefined && typeof label !== 'string')
    throw new LockError(`A label must be a string, but it is of type ${typeof label}.`);
  return label === undefined ? null : label.replaceAll('\0', '').slice(0, LABEL_CHARACTERS).toWellFormed();
}
