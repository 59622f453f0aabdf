import { createHash } from 'node:crypto';
import type { LockOutcome } from '../../interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  LeaseRenewal,
  ListRequest,
  OnceRequest,
  PurgeRequest,
  ReleaseRequest,
  WaiterRequest,
} from '../../interfaces/lock-store.interface.js';
import { show, LockError } from '../../lock.errors.js';
import { assertOwner, fitKey, textProblem } from '../../options/lock-key.js';
import type { Conditions } from './conditions.js';
import { LATEST } from './key-state.js';

const OWNER_BYTES = 64;
const LABEL_CHARACTERS = 255;
const LARGEST_PAGE = 1000;

/**
 * How many milliseconds the recorded start of a gap may be ahead of the clock. A statement
 * reads the clock when it begins, so another statement may record a slightly later start
 * meanwhile.
 */
const CLOCK_SLACK = 1_000;

/** A key and the owner of its lease, as stores keep them. */
export interface Identity {
  key: string;
  owner: string;
}

/** A valid request for a key, with its texts in the form in which stores keep them. */
export interface LeaseRequest extends LeaseRenewal, Conditions {
  label: string | null;
  resend: boolean;
}

/** A valid release of a lease, with its texts in the form in which stores keep them. */
export interface Release extends Identity {
  /** How many milliseconds the key stays taken; 0 frees it at once. */
  keepFor: number;
  outcome: LockOutcome;
}

/**
 * A valid release of a lease to a waiter, with its texts in the form in which stores keep
 * them.
 */
export interface ReleaseToWaiter extends Identity {
  /** How the run of the present owner ended. */
  outcome: LockOutcome;
  nextOwner: string;
  ttl: number;
  label: string | null;
}

/**
 * Key and owner in the form in which stores keep them. An owner that is too long for the
 * column is replaced by its SHA-256.
 */
export function identityOf(key: string, owner: string): Identity {
  return { key: fitKey(key), owner: fitOwner(owner) };
}

function fitOwner(owner: string): string {
  assertOwner(owner);
  const fits = Buffer.byteLength(owner) <= OWNER_BYTES;
  return fits ? owner : createHash('sha256').update(owner).digest('hex');
}

/** @throws LockError for a key, an owner or a ttl that is not valid */
export function leaseOf(key: string, owner: string, ttl: number): LeaseRenewal {
  return { key: fitKey(key), owner: fitOwner(owner), ttl: milliseconds('ttl', ttl) };
}

/** @throws LockError for a request that is not valid */
export function leaseRequestOf(
  key: string,
  owner: string,
  ttl: number,
  request: AcquireRequest,
): LeaseRequest {
  const { label, resend = false, stealAfter, once } = request;
  // Each field is listed, since spreads would take longer than all the checks.
  const { tick, ahead, slot, gap, failOver } = once === undefined ? NOT_ONCE : onceOf(once);
  return {
    key: fitKey(key),
    owner: fitOwner(owner),
    ttl: milliseconds('ttl', ttl),
    stealAfter: stealAfter === undefined ? null : milliseconds('stealAfter', stealAfter),
    tick,
    ahead,
    slot,
    gap,
    failOver,
    label: labelOf(label),
    resend,
  };
}

type Once = Omit<Conditions, 'stealAfter'>;
const NOT_ONCE: Once = { tick: null, ahead: null, slot: null, gap: null, failOver: null };

function onceOf(once: OnceRequest): Once {
  const { tick, ahead, failOver, slot, gap, ...others }: Record<string, unknown> = { ...once };
  const forms = [
    [tick, ahead, failOver].some((value) => value !== undefined),
    slot !== undefined,
    gap !== undefined,
  ];
  const known = typeof once === 'object' && once !== null && Object.keys(others).length === 0;
  if (!known || forms.filter(Boolean).length !== 1)
    throw new LockError(
      `once must be { tick, ahead, failOver? }, { slot } or { gap }, but it is ${show(once)}.`,
    );
  if (slot !== undefined) return { ...NOT_ONCE, slot: milliseconds('once.slot', slot) };
  if (gap !== undefined) {
    const length = milliseconds('once.gap', gap);
    return { ...NOT_ONCE, gap: length, ahead: Math.min(length, CLOCK_SLACK) };
  }
  if (typeof tick !== 'number' || !Number.isInteger(tick) || tick < 0 || tick > LATEST)
    throw new LockError(
      `once.tick must be the whole epoch milliseconds of a date, such as Date.getTime() gives, but it is ${show(tick)}.`,
    );
  if (typeof ahead !== 'number' || !Number.isFinite(ahead) || ahead < 0)
    throw new LockError(
      `once.ahead must be a finite number of milliseconds, 0 or more, but it is ${show(ahead)}.`,
    );
  if (failOver !== undefined && typeof failOver !== 'boolean')
    throw new LockError(`once.failOver must be true or false, but it is ${show(failOver)}.`);
  return {
    ...NOT_ONCE,
    tick,
    ahead: Math.min(Math.ceil(ahead), LATEST),
    failOver: failOver === true ? tick : null,
  };
}

/** @throws LockError for a request that is not valid */
export function releaseOf(
  key: string,
  owner: string,
  { keepFor = 0, outcome = 'done' }: ReleaseRequest,
): Release {
  assertOutcome(outcome);
  const kept = keepFor === 0 ? 0 : milliseconds('keepFor', keepFor);
  return { key: fitKey(key), owner: fitOwner(owner), keepFor: kept, outcome };
}

/**
 * @throws LockError for a request that is not valid, and for a waiter with the holder's owner
 * id
 */
export function releaseToWaiterOf(
  key: string,
  owner: string,
  next: WaiterRequest,
  { outcome = 'done' }: Pick<ReleaseRequest, 'outcome'>,
): ReleaseToWaiter {
  assertOutcome(outcome);
  // If holder and waiter had one owner id, a request that is carried out twice would release
  // the waiter's lock to the waiter itself.
  if (owner === next.owner)
    throw new LockError(
      'A lock can only be released to a waiter with another owner, but this owner already holds it.',
    );
  const { owner: nextOwner, ttl } = leaseOf(key, next.owner, next.ttl);
  return { ...identityOf(key, owner), outcome, nextOwner, ttl, label: labelOf(next.label) };
}

/**
 * Shortens a label, and removes characters that the column cannot keep. A label is only for
 * people, so no lock is refused because of it.
 */
export function labelOf(label: string | undefined): string | null {
  if (label !== undefined && typeof label !== 'string')
    throw new LockError(`A label must be a string, but it is of type ${typeof label}.`);
  if (label === undefined) return null;
  if (label.length <= LABEL_CHARACTERS && !textProblem(label)) return label;
  return label.replaceAll('\0', '').slice(0, LABEL_CHARACTERS).toWellFormed();
}

/** @throws LockError for a limit, a `prefix` or an `after` that is not valid */
export function listRequestOf({ prefix = '', after = '', limit }: ListRequest): Required<ListRequest> {
  if (!Number.isInteger(limit) || limit < 1 || limit > LARGEST_PAGE)
    throw new LockError(
      `A page has 1 to ${LARGEST_PAGE} locks, but limit is ${show(limit)}. Read the next page with \`after\`.`,
    );
  assertText('list', { prefix, after });
  return { prefix, after, limit };
}

/**
 * Checks a request to purge. A missing age is refused, and does not mean "all keys".
 *
 * @throws LockError for keys or an age that cannot be read
 */
export function purgeRequestOf({ prefix = '', olderThan }: PurgeRequest): Required<PurgeRequest> {
  assertText('purge', { prefix });
  if (typeof olderThan === 'number' && Number.isFinite(olderThan) && olderThan >= 0)
    return { prefix, olderThan: Math.min(Math.ceil(olderThan), Number.MAX_SAFE_INTEGER) };
  throw new LockError(
    `olderThan must be a finite number of milliseconds, 0 or more, but it is ${show(olderThan)}.`,
  );
}

/**
 * Rounds up to whole milliseconds, since a lease must not end before its holder expects it to.
 */
function milliseconds(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0)
    return Math.min(Math.ceil(value), Number.MAX_SAFE_INTEGER);
  const endless = name === 'ttl' ? ' Number.MAX_SAFE_INTEGER never expires.' : '';
  throw new LockError(
    `${name} must be a finite number of milliseconds above 0, but it is ${show(value)}.${endless}`,
  );
}

function assertOutcome(outcome: unknown): void {
  if (outcome === 'done' || outcome === 'failed') return;
  throw new LockError(`The outcome of a run must be 'done' or 'failed', but it is ${show(outcome)}.`);
}

function assertText(doing: string, texts: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(texts)) {
    const problem = typeof value === 'string' ? textProblem(value) : 'is not a string';
    if (problem) throw new LockError(`The ${name} of the keys to ${doing} ${problem}.`);
  }
}
