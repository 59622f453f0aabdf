import type { Document } from 'mongodb';
import type { LockOutcome } from '../../interfaces/lock-record.interface.js';
import type { LeaseRenewal } from '../../interfaces/lock-store.interface.js';
import { FREE, NEVER } from './lock-document.js';

/** An acquisition, checked. */
export interface Attempt extends LeaseRenewal {
  label: string | null;
  resend: boolean;
  /** The random id of this call. */
  attempt: string;
}

/** From this on, adding a ttl to the clock would go beyond the last date. */
const ENDLESS = 8e15;

/**
 * Takes the key if it is free; changes nothing otherwise. As a pipeline, since the filter of an upsert may not compare with the clock (`$expr`).
 *
 * One stage on the document as it was: whether it is free and what it becomes are decided together, by `$$NOW`, the clock of the primary.
 */
export function acquisition({ key, owner, ttl, label, resend, attempt }: Attempt): Document[] {
  const isNew = { $eq: ['$$ROOT', { _id: literal(key) }] };
  const isOurs = { $eq: [{ $type: '$attempt' }, 'string'] }; // somebody else's document stays as it is
  const free = { $or: [isNew, { $and: [isOurs, { $lte: ['$expiresAt', '$$NOW'] }] }] };
  const again = { $eq: ['$owner', literal(owner)] };
  const terms = { attempt: literal(attempt), renewedAt: '$$NOW', expiresAt: until(ttl) };
  const held = { $ne: [{ $ifNull: ['$owner', null] }, null] };
  const granted = {
    _id: literal(key),
    owner: literal(owner),
    token: nextToken,
    label: literal(label),
    startedAt: '$$NOW',
    ...terms,
    last: { $cond: [held, ending('$expiresAt', 'failed'), '$last'] }, // it ran out without a release
    guards: '$guards',
  };
  const first = { $cond: [free, granted, '$$ROOT'] };
  return [{ $replaceWith: resend ? { $cond: [again, { $mergeObjects: ['$$ROOT', terms] }, first] } : first }];
}

/** The lease of this owner, unless it has run out. */
export function ownLease(key: string, owner: string): Document {
  return { ...byKey(key), owner: { $eq: owner }, ...unexpired };
}

/** A key that somebody holds or that is kept. */
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

/** @param keepFor 0 to free the key at once */
export function release(keepFor: number, outcome: LockOutcome): Document[] {
  const expiresAt = keepFor === 0 ? FREE : until(keepFor);
  const freeSince = unneededFrom(keepFor === 0 ? '$$NOW' : until(keepFor));
  return [{ $set: { owner: null, expiresAt, freeSince, last: ending('$$NOW', outcome) } }];
}

/** A key that is merely kept has no holder whose run could fail. */
export function forcedRelease(): Document[] {
  const last = { $cond: [{ $eq: ['$owner', null] }, '$last', ending('$$NOW', 'failed')] };
  return [{ $set: { owner: null, expiresAt: FREE, freeSince: unneededFrom('$$NOW'), last } }];
}

/**
 * Locks that nobody has, and that nobody has had for `olderThan` milliseconds. One whose token the clock has not passed stays: the next token of the
 * key would not be larger.
 */
export function unused(prefix: string, olderThan: number): Document {
  const before = { $subtract: ['$$NOW', olderThan] };
  const old = ['$expiresAt', '$renewedAt', { $ifNull: ['$last.endedAt', FREE] }].map((date) => ({
    $lte: [date, before],
  }));
  return { ...keysFrom(prefix), ...ours, $expr: { $and: [...old, { $lt: ['$token', clock] }] } };
}

/** Held locks whose keys start with `prefix` and come after `after`. */
export function heldAfter(prefix: string, after: string): Document {
  return { $and: [keysFrom(prefix), { _id: { $gt: after } }], ...ours, ...unexpired };
}

/** Ties the lock to a transaction: it has to change something, or a contender would not be in conflict with it. */
export const guarding = { $inc: { guards: 1 } };

const ours = { attempt: { $type: 'string' } };
const unexpired = { $expr: { $gt: ['$expiresAt', '$$NOW'] } };

/** In microseconds. */
const clock = { $multiply: [{ $toLong: '$$NOW' }, 1000] };

/** The clock in microseconds also when documents were deleted, or a primary was lost with its last writes. */
const nextToken = {
  $max: [{ $add: [{ $ifNull: ['$token', 0] }, 1] }, clock],
};

function until(ttl: number): unknown {
  return ttl < ENDLESS ? { $add: ['$$NOW', ttl] } : NEVER;
}

/** The next token is larger than the one of a deleted document once the clock has passed that. */
function unneededFrom(free: unknown): Document {
  const passed = { $toDate: { $toLong: { $add: [{ $divide: ['$token', 1000] }, 1] } } };
  return { $max: [free, passed] };
}

function ending(endedAt: string, outcome: LockOutcome): Document {
  return { label: '$label', startedAt: '$startedAt', endedAt, outcome: literal(outcome) };
}

/** What a user gave is a value, whatever it looks like: `$$NOW` can be the name of a lock. */
function literal(value: string | null): Document {
  return { $literal: value };
}

/** Strings are compared by the bytes of their UTF-8, which has the order of code points. */
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
