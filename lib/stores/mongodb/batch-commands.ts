import { randomUUID } from 'node:crypto';
import type { Document } from 'mongodb';
import type { LockAcquireResult } from '../../interfaces/lock-store.interface.js';
import { refusalOf } from '../shared/conditions.js';
import type { LeaseRequest, Release } from '../shared/requests.js';
import type { OpenLocks } from './lock-collection.js';
import { isLock, stateOf, VIEW, type LockView } from './lock-document.js';
import * as update from './lock-updates.js';
import { failedWritesOnly, isOutOfTime } from './mongo-failure.js';

/**
 * Milliseconds for a write of many documents, and for each document of it. MongoDB writes them
 * one after the other, and waits for a document that a transaction has changed. The others
 * must not wait for long.
 */
const LIMIT = { all: 200, each: 4 };

/** A document that is to be written. */
interface Write {
  filter: Document;
  update: Document[];
  upsert?: boolean;
}

/** How a write of many documents went. */
interface Written {
  /**
   * Whether all documents were tried, and the write is as durable as the write concern says.
   * Else some may have been written all the same.
   */
  acknowledged: boolean;
  /** How many documents were found; `undefined` if some could not be written. */
  matched?: number;
}

/** The results of releases. */
export interface ReleasedMany {
  acknowledged: boolean;
  /** The keys that were released. */
  keys: ReadonlySet<string>;
  /** Whether other keys were released too: another process has already changed them again. */
  doubtful: boolean;
}

/**
 * Serves requests for free keys without further conditions, each for another key, by one
 * write. One read then shows which of them were granted.
 *
 * A held key is not written, so a transaction that guards it holds up no other key.
 *
 * @returns results in the order of the requests; `undefined` for a request that has to be
 * sent by itself, as a repetition
 */
export async function acquireMany(
  locks: OpenLocks,
  requests: readonly LeaseRequest[],
): Promise<(LockAcquireResult | undefined)[]> {
  const attempt = randomUUID();
  const upserts = requests.map((request) => ({
    filter: update.byKey(request.key),
    update: update.acquisition(request, attempt),
    upsert: true,
  }));
  if (!(await writeMany(locks, upserts)).acknowledged) return [];
  const { collection, read } = locks;
  const keys = requests.map(({ key }) => key);
  const options = { ...read, projection: { ...VIEW, attempt: 1 }, batchSize: keys.length + 1 };
  const found = await collection
    .find<LockView & { attempt: unknown }>({ _id: { $in: keys } }, options)
    .toArray();
  const views = new Map(found.map((view) => [view._id, view]));
  return requests.map((request): LockAcquireResult | undefined => {
    const view = views.get(request.key);
    if (!view || !isLock(view)) return undefined;
    if (view.attempt === attempt) return { acquired: true, fencingToken: Number(view.token) };
    return refusalOf(request, stateOf(view));
  });
}

/**
 * Frees keys at once by one write. If it did not free them all, a read shows which it freed.
 */
export async function releaseMany(locks: OpenLocks, releases: readonly Release[]): Promise<ReleasedMany> {
  const batch = randomUUID();
  const keys = releases.map(({ key }) => key);
  const { acknowledged, matched } = await writeMany(
    locks,
    releases.map(({ key, owner, outcome }) => ({
      filter: update.ownLease(key, owner),
      update: update.release(0, outcome, batch),
    })),
  );
  if (matched === releases.length) return { acknowledged, keys: new Set(keys), doubtful: false };
  const { collection, read } = locks;
  const released = await collection
    .find({ _id: { $in: keys }, batch }, { ...read, projection: { _id: 1 }, batchSize: keys.length + 1 })
    .toArray();
  const doubtful = matched !== undefined && released.length < matched;
  return { acknowledged, keys: new Set(released.map(({ _id }) => _id)), doubtful };
}

/**
 * Writes documents in their order. A document that cannot be written holds up no other.
 *
 * @throws the error of the driver, if it is not known what was written
 */
async function writeMany({ collection, write }: OpenLocks, writes: readonly Write[]): Promise<Written> {
  const limit = Math.min(write.maxTimeMS / 2, LIMIT.all + LIMIT.each * writes.length);
  const options = { ...write, maxTimeMS: Math.ceil(limit), ordered: false };
  try {
    const { matchedCount } = await collection.bulkWrite(
      writes.map((updateOne) => ({ updateOne })),
      options,
    );
    return { acknowledged: true, matched: matchedCount };
  } catch (error) {
    if (isOutOfTime(error)) return { acknowledged: false };
    if (failedWritesOnly(error)) return { acknowledged: true };
    throw error;
  }
}
