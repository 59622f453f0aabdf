import type { Document } from 'mongodb';
import type { LockOutcome } from '../../interfaces/lock-record.interface.js';
import type { Conditions } from '../shared/conditions.js';
import type { LeaseRequest, ReleaseToWaiter } from '../shared/requests.js';
import { FREE, NEVER } from './lock-document.js';

/**
 * Fails the command, since the text is no number, whatever the key is. MongoDB would convert
 * a constant before it decides anything.
 */
const FAILURE = { $toInt: { $concat: ['the tick is too far ahead: ', '$_id'] } };

/** From this on, adding a ttl to the clock would go beyond the last date. */
const ENDLESS = 8e15;

/**
 * Takes the key if it is free, and changes nothing otherwise. It is a pipeline, since the
 * filter of an upsert may not compare with the clock (`$expr`).
 *
 * One stage reads the document as it was, and decides by `$$NOW`, the clock of the primary.
 * An upsert leaves a document also when the key was not granted. So a tick that is too far
 * ahead fails the command.
 *
 * @param attempt the random id of this call
 */
export function acquisition(request: LeaseRequest, attempt: string): Document[] {
  const { key, owner, ttl, resend, tick, ahead } = request;
  const lease = leaseFields(attempt, ttl);
  // The last lease has expired without a release, or is stolen now.
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

/** @param attempt the random id of this call */
export function releaseToWaiter(request: ReleaseToWaiter, attempt: string): Document[] {
  const { nextOwner: owner, ttl, outcome } = request;
  const lease = leaseFields(attempt, ttl);
  return [{ $replaceWith: grant({ ...request, owner }, lease, '$tick', ending('$$NOW', outcome)) }];
}

function leaseFields(attempt: string, ttl: number): Document {
  return { attempt: literal(attempt), renewedAt: '$$NOW', expiresAt: until(ttl) };
}

/** What the document of a key becomes when it is granted. */
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
 * Whether the recorded tick is this tick or a later one. MongoDB sorts a missing field before
 * all dates.
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

/** The lease of this owner, unless it has run out. */
export function ownLease(key: string, owner: string): Document {
  return { ...byKey(key), owner: { $eq: owner }, ...unexpired };
}

/** The lease of this owner, unless it has run out or the key is paused. */
export function ownUnpausedLease(key: string, owner: string): Document {
  return { ...ownLease(key, owner), paused: { $ne: true } };
}

/** A key that is held, or that a release keeps taken. */
export function heldKey(key: string): Document {
  return { ...lock(key), ...unexpired };
}

/** A key that has a lock, held or not. */
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

/** As an upsert: a key that has no document gets one. */
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

/** A key that is merely kept has no holder whose run could fail. */
export function forcedRelease(): Document[] {
  const last = { $cond: [{ $eq: ['$owner', null] }, '$last', ending('$$NOW', 'failed')] };
  return [{ $set: { owner: null, expiresAt: FREE, freeSince: unneededFrom('$$NOW'), last } }];
}

/**
 * Keys that are free and have not been used for `olderThan` milliseconds. A key stays if the
 * clock has not passed its token: else its next token would not be larger.
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

/** Held locks whose keys start with `prefix` and come after `after`. */
export function heldAfter(prefix: string, after: string): Document {
  return { $and: [keysFrom(prefix), { _id: { $gt: after } }], ...ours, ...unexpired };
}

/**
 * Ties the lock to a transaction. The update has to change something, or other attempts
 * would not conflict with it.
 */
export const guarding = { $inc: { guards: 1 } };

/**
 * A document without this field is not a lock, and stays as it is. Once as an expression,
 * once as a filter.
 */
const isOurs = { $eq: [{ $type: '$attempt' }, 'string'] };
const ours = { attempt: { $type: 'string' } };
/** Also when the lease has run out. */
const held = { $ne: [{ $ifNull: ['$owner', null] }, null] };
const unexpired = { $expr: { $gt: ['$expiresAt', '$$NOW'] } };

/** In microseconds. */
const clock = { $multiply: [{ $toLong: '$$NOW' }, 1000] };

/**
 * The clock makes tokens grow also after documents were deleted, or a primary was lost with
 * its last writes.
 */
const nextToken = {
  $max: [{ $add: [{ $ifNull: ['$token', 0] }, 1] }, clock],
};

function until(ttl: number): unknown {
  return ttl < ENDLESS ? { $add: ['$$NOW', ttl] } : NEVER;
}

/**
 * From then on the document may be deleted: the clock has passed its token, so the next
 * token is larger, and its tick. A pause has no end.
 */
function unneededFrom(free: unknown): Document {
  const passed = { $toDate: { $toLong: { $add: [{ $divide: ['$token', 1000] }, 1] } } };
  return { $cond: ['$paused', '$$REMOVE', { $max: [free, passed, '$tick'] }] };
}

/** The document that an upsert begins with. */
function isNew(key: string): Document {
  return { $eq: ['$$ROOT', { _id: literal(key) }] };
}

function ending(endedAt: unknown, outcome: LockOutcome): Document {
  return { label: '$label', startedAt: '$startedAt', endedAt, outcome: literal(outcome) };
}

/** A text of a user is a value, whatever it looks like: `$$NOW` can be the name of a lock. */
function literal(value: string | null): Document {
  return { $literal: value };
}

/**
 * MongoDB compares strings by the bytes of their UTF-8, which have the order of code points.
 */
function keysFrom(prefix: string): Document {
  const end = successor(prefix);
  return prefix === '' ? {} : { _id: { $gte: prefix, ...(end !== '' && { $lt: end }) } };
}

/** The first string after all those that begin with `prefix`; empty when there is none. */
function successor(prefix: string): string {
  const characters = Array.from(prefix); // code points, not halves of them
  for (let last = characters.pop(); last !== undefined; last = characters.pop()) {
    const next = (last.codePointAt(0) ?? 0) + 1;
    if (next > 0x10ffff) continue;
    return characters.join('') + String.fromCodePoint(next === 0xd800 ? 0xe000 : next); // surrogates are no characters
  }
  return '';
}
