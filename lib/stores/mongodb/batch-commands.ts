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
 * Milliseconds that a write of many documents may take: `all`, and `each` for each document.
 * MongoDB writes one document after the other, and waits for a document that a transaction has
 * changed. The limit keeps the other documents from waiting for long.
 */
const LIMIT = { all: 200, each: 4 };

/** One document of a write. */
interface Write {
  filter: Document;
  update: Document[];
  upsert?: boolean;
}

/** The result of a write of many documents. */
interface Written {
  /**
   * Whether the server tried all documents, and acknowledged them as the write concern
   * demands. If `false`, some documents may still have been written.
   */
  acknowledged: boolean;
  /** How many documents were found; `undefined` if some documents could not be written. */
  matched?: number;
}

/** The results of releases. */
export interface ReleasedMany {
  acknowledged: boolean;
  /** The keys that were released. */
  keys: ReadonlySet<string>;
  /**
   * Whether the batch released more keys than `keys` has, since other processes have already
   * changed them again.
   */
  doubtful: boolean;
}

/**
 * Serves requests for free keys without further conditions, each for a different key, with one
 * write. One read then shows which requests were granted.
 *
 * The write leaves out held keys, so a transaction that guards one of them delays no other
 * key.
 *
 * @returns results in the order of the requests; `undefined` for a request that has to be
 * repeated alone
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
 * Frees keys with one write. If the write did not free all keys, a read shows which keys it
 * freed.
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
 * Writes documents one after the other. If a document cannot be written, the server goes on
 * with the next document.
 *
 * @throws the error of the driver, if the outcome is unknown
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
