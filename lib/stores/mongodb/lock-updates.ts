import type { Document } from 'mongodb';
import type { LockOutcome } from '../../interfaces/lock-record.interface.js';
import type { Conditions } from '../shared/conditions.js';
import type { LeaseRequest, ReleaseToWaiter } from '../shared/requests.js';
import { FREE, NEVER } from './lock-document.js';

/**
 * An expression that makes the command fail, since the text never is a number. The text
 * contains a field because MongoDB evaluates a constant even in a branch that is not taken.
 */
const FAILURE = { $toInt: { $concat: ['the tick is too far ahead: ', '$_id'] } };

/**
 * A ttl of this many milliseconds or more counts as endless, since the clock plus the ttl
 * could exceed the last possible date.
 */
const ENDLESS = 8e15;

/**
 * Takes the key if it is free, and changes nothing otherwise. The conditions are in a
 * pipeline, since the filter of an upsert may not compare with the clock (`$expr`).
 *
 * One stage reads the document as it was, and decides by `$$NOW`, the clock of the primary. An
 * upsert creates a document even if the key is not granted. So a tick that is too far ahead
 * fails the command.
 *
 * @param attempt the random id of this request
 */
export function acquisition(request: LeaseRequest, attempt: string): Document[] {
  const { key, owner, ttl, resend, tick, ahead } = request;
  const lease = leaseFields(attempt, ttl);
  // If the key has an owner, its lease has expired without a release, or this request steals
  // it.
  const last = { $cond: [held, ending({ $min: ['$expiresAt', '$$NOW'] }, 'failed'), '$last'] };
  const granted = {
    ...grant(request, lease, tickOf(request) ?? '$tick', last),
    ...(ahead !== null && {
      ignored: { $cond: [{ $and: [tooFarAhead(request), isDone(request)] }, '$tick', '$$REMOVE'] },
    }),
  };
  const first = { $cond: [{ $or: [isNew(key), freeFor(request)] }, granted, '$$ROOT'] };
  const again = { $eq: ['$owner', literal(owner)] };
  const decided = resend ? { $cond: [again, { $mergeObjects: ['$$ROOT', lease] }, first] } : first;
  if (tick === null) return [{ $replaceWith: decided }];
  const tooFar = { $gt: [new Date(tick), { $add: ['$$NOW', ahead] }] };
  return [{ $replaceWith: { $cond: [tooFar, FAILURE, decided] } }];
}

/** @param attempt the random id of this request */
export function releaseToWaiter(request: ReleaseToWaiter, attempt: string): Document[] {
  const { nextOwner: owner, ttl, outcome } = request;
  const lease = leaseFields(attempt, ttl);
  return [{ $replaceWith: grant({ ...request, owner }, lease, '$tick', ending('$$NOW', outcome)) }];
}

function leaseFields(attempt: string, ttl: number): Document {
  return { attempt: literal(attempt), renewedAt: '$$NOW', expiresAt: until(ttl) };
}

/** The document of a key after a grant. */
function grant(
  { key, owner, label }: Pick<LeaseRequest, 'key' | 'owner' | 'label'>,
  lease: Document,
  tick: unknown,
  last: Document,
): Document {
  return {
    _id: literal(key),
    owner: literal(owner),
    token: nextToken,
    label: literal(label),
    startedAt: '$$NOW',
    ...lease,
    tick,
    last,
    guards: '$guards',
    batch: '$batch',
  };
}

/** Whether an attempt with these conditions gets the key of a document. */
function freeFor(conditions: Conditions): Document {
  const { stealAfter } = conditions;
  const over = { $lte: ['$expiresAt', '$$NOW'] };
  const old = { $and: [held, { $lte: ['$renewedAt', { $subtract: ['$$NOW', stealAfter] }] }] };
  return {
    $and: [
      isOurs,
      { $ne: ['$paused', true] },
      ...(tickOf(conditions) === null
        ? []
        : [{ $or: [{ $not: [isDone(conditions)] }, tooFarAhead(conditions)] }]),
      stealAfter === null ? over : { $or: [over, old] },
    ],
  };
}

/**
 * Whether the recorded tick is the requested tick or a later tick. If no tick is recorded, the
 * answer is no, since MongoDB sorts a missing field before all dates.
 */
function isDone(conditions: Conditions): Document {
  const { gap, failOver } = conditions;
  const from = gap === null ? tickOf(conditions) : { $subtract: ['$$NOW', gap - 1] };
  const notBefore = { $gte: ['$tick', from] };
  if (failOver === null) return notBefore;
  return { $and: [notBefore, { $not: [{ $and: [held, { $eq: ['$tick', new Date(failOver)] }] }] }] };
}

/** Whether the recorded tick lies so far ahead of the clock that it is ignored. */
function tooFarAhead({ ahead }: Conditions): unknown {
  return ahead !== null && { $gt: ['$tick', { $add: ['$$NOW', ahead] }] };
}

function tickOf({ tick, slot, gap }: Conditions): unknown {
  if (gap !== null) return '$$NOW';
  if (slot === null) return tick === null ? null : new Date(tick);
  return { $subtract: ['$$NOW', { $mod: [{ $toLong: '$$NOW' }, slot] }] };
}

/** A filter for the lease of this owner, unless it has expired. */
export function ownLease(key: string, owner: string): Document {
  return { ...byKey(key), owner: { $eq: owner }, ...unexpired };
}

/** A filter for the lease of this owner, unless it has expired or the key is paused. */
export function ownUnpausedLease(key: string, owner: string): Document {
  return { ...ownLease(key, owner), paused: { $ne: true } };
}

/** A filter for a key that is held, or that a release keeps taken. */
export function heldKey(key: string): Document {
  return { ...lock(key), ...unexpired };
}

/** A filter for a key that has a document of the store, held or free. */
export function lock(key: string): Document {
  return { ...byKey(key), ...ours };
}

export function byKey(key: string): Document {
  return { _id: { $eq: key } };
}

export function renewal(ttl: number, batch?: string): Document[] {
  return [{ $set: { renewedAt: '$$NOW', expiresAt: until(ttl), ...(batch && { batch: literal(batch) }) } }];
}

/**
 * @param keepFor 0 to free the key at once
 * @param batch the random id of the command, if it releases several keys
 */
export function release(keepFor: number, outcome: LockOutcome, batch?: string): Document[] {
  const expiresAt = keepFor === 0 ? FREE : until(keepFor);
  const freeSince = unneededFrom(keepFor === 0 ? '$$NOW' : until(keepFor));
  const last = ending('$$NOW', outcome);
  return [{ $set: { owner: null, expiresAt, freeSince, last, ...(batch && { batch: literal(batch) }) } }];
}

/** Pauses a key. As an upsert, the update creates a document for a key without a document. */
export function pause(key: string, attempt: string): Document[] {
  const fresh = {
    owner: null,
    attempt: literal(attempt),
    token: clock,
    expiresAt: FREE,
    label: null,
    startedAt: FREE,
    renewedAt: FREE,
  };
  const paused = { $mergeObjects: ['$$ROOT', { $cond: [isNew(key), fresh, {}] }, { paused: true }] };
  const stays = { $unsetField: { field: 'freeSince', input: paused } };
  return [{ $replaceWith: { $cond: [{ $or: [isNew(key), isOurs] }, stays, '$$ROOT'] } }];
}

export function pausedKey(key: string): Document {
  return { ...lock(key), paused: true };
}

export function resumption(): Document[] {
  const freeSince = { $cond: [held, '$$REMOVE', unneededFrom({ $max: ['$$NOW', '$expiresAt'] })] };
  return [{ $unset: 'paused' }, { $set: { freeSince } }];
}

/**
 * Frees a key. If the key has no owner, a release keeps it taken, and the run has already
 * ended.
 */
export function forcedRelease(): Document[] {
  const last = { $cond: [{ $eq: ['$owner', null] }, '$last', ending('$$NOW', 'failed')] };
  return [{ $set: { owner: null, expiresAt: FREE, freeSince: unneededFrom('$$NOW'), last } }];
}

/**
 * A filter for keys that are free and have not been used for `olderThan` milliseconds. A key
 * stays until the clock has passed its token. If it were deleted earlier, its next token might
 * not be larger.
 */
export function unused(prefix: string, olderThan: number): Document {
  const before = { $subtract: ['$$NOW', olderThan] };
  const old = ['$expiresAt', '$renewedAt', '$tick', { $ifNull: ['$last.endedAt', FREE] }].map((date) => ({
    $lte: [date, before],
  }));
  return {
    ...keysFrom(prefix),
    ...ours,
    paused: { $ne: true },
    $expr: { $and: [...old, { $lt: ['$token', clock] }] },
  };
}

/** A filter for held locks whose keys start with `prefix` and come after `after`. */
export function heldAfter(prefix: string, after: string): Document {
  return { $and: [keysFrom(prefix), { _id: { $gt: after } }], ...ours, ...unexpired };
}

/**
 * Ties the lock to a transaction. The update has to change the document, so that other
 * attempts conflict with the transaction.
 */
export const guarding = { $inc: { guards: 1 } };

/**
 * A document without the field `attempt` is not a lock, and the store does not change it.
 * `isOurs` is an expression, `ours` is a filter.
 */
const isOurs = { $eq: [{ $type: '$attempt' }, 'string'] };
const ours = { attempt: { $type: 'string' } };
/** Whether the key has an owner, even if the lease has expired. */
const held = { $ne: [{ $ifNull: ['$owner', null] }, null] };
const unexpired = { $expr: { $gt: ['$expiresAt', '$$NOW'] } };

/** The clock of the primary, in microseconds. */
const clock = { $multiply: [{ $toLong: '$$NOW' }, 1000] };

/**
 * The next token. The clock makes tokens grow even if a document was deleted, or a primary was
 * lost with its last writes.
 */
const nextToken = {
  $max: [{ $add: [{ $ifNull: ['$token', 0] }, 1] }, clock],
};

function until(ttl: number): unknown {
  return ttl < ENDLESS ? { $add: ['$$NOW', ttl] } : NEVER;
}

/**
 * The time from which the document may be deleted, since the clock has passed its token and
 * its tick, and the next token is larger. A paused key has no such time.
 */
function unneededFrom(free: unknown): Document {
  const passed = { $toDate: { $toLong: { $add: [{ $divide: ['$token', 1000] }, 1] } } };
  return { $cond: ['$paused', '$$REMOVE', { $max: [free, passed, '$tick'] }] };
}

/** Whether an upsert has just begun this document, since the key had no document. */
function isNew(key: string): Document {
  return { $eq: ['$$ROOT', { _id: literal(key) }] };
}

function ending(endedAt: unknown, outcome: LockOutcome): Document {
  return { label: '$label', startedAt: '$startedAt', endedAt, outcome: literal(outcome) };
}

/**
 * Marks a text of a user as a value, since a key may look like an expression, such as `$$NOW`.
 */
function literal(value: string | null): Document {
  return { $literal: value };
}

/**
 * A filter for keys with this prefix. MongoDB compares strings by their UTF-8 bytes, which
 * sort like code points.
 */
function keysFrom(prefix: string): Document {
  const end = successor(prefix);
  return prefix === '' ? {} : { _id: { $gte: prefix, ...(end !== '' && { $lt: end }) } };
}

/**
 * The first string after all strings that begin with `prefix`; empty if no string comes after
 * them.
 */
function successor(prefix: string): string {
  const characters = Array.from(prefix); // code points: no surrogate is split off
  for (let last = characters.pop(); last !== undefined; last = characters.pop()) {
    const next = (last.codePointAt(0) ?? 0) + 1;
    if (next > 0x10ffff) continue;
    // Skips the surrogates, which are not characters.
    return characters.join('') + String.fromCodePoint(next === 0xd800 ? 0xe000 : next);
  }
  return '';
}
