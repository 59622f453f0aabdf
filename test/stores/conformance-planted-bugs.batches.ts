import type { LockAcquireResult, LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockStoreError } from '../../lib/lock.errors.js';
import { Batcher } from '../../lib/stores/shared/batcher.js';
import type { PlantedBug, Port, RightStore } from './conformance-planted-bugs.js';

type Acquisition = Parameters<LockStore['acquire']>;
type Release = Parameters<LockStore['release']>;

/**
 * What a batch of a wrong store does differently from a sound store, with its requests or its
 * results.
 */
interface Difference {
  acquire?: (right: RightStore, ...request: Acquisition) => Promise<LockAcquireResult>;
  acquired?: (results: LockAcquireResult[]) => LockAcquireResult[];
  release?: (right: RightStore, ...request: Release) => Promise<boolean>;
  released?: (results: boolean[]) => boolean[];
}

const ACQUISITIONS = 'B93 each of 200 simultaneous acquisitions gets the result for its own key';
const RELEASES = 'B93 each of 200 simultaneous releases ends only its own lock';

/**
 * Bugs of statements that serve many requests. These stores serve a request correctly if it is
 * sent alone.
 */
export const sharedStatements: PlantedBug[] = [
  {
    name: 'two results of a batch are swapped',
    plant: (right) => inBatches(right, { acquired: rotated }),
    foundBy: ACQUISITIONS,
  },
  {
    name: 'a result of a batch is dropped, and its grant counts as refused',
    plant: (right) =>
      inBatches(right, { acquired: (results) => [...results.slice(0, -1), { acquired: false }] }),
    foundBy: ACQUISITIONS,
  },
  {
    name: 'a batch steals held keys',
    plant: (right) =>
      inBatches(right, {
        async acquire(_, key, ...rest) {
          await right.forceRelease(key);
          return right.acquire(key, ...rest);
        },
      }),
    foundBy: ACQUISITIONS,
  },
  {
    name: 'a call that gives up fails its whole batch',
    plant: (right) =>
      inBatches(right, {
        async acquire(_, key, owner, ttl, request) {
          if ((request?.timeout ?? Infinity) < 100) throw new LockStoreError('given up', { transient: true });
          return right.acquire(key, owner, ttl, request);
        },
      }),
    foundBy: 'B93 if one of many simultaneous requests runs out of time, the others get their results',
  },
  {
    name: 'two results of a batch of releases are swapped',
    plant: (right) => inBatches(right, { released: rotated }),
    foundBy: RELEASES,
  },
  {
    name: 'a batch of releases ignores the owners',
    plant: (right) => inBatches(right, { release: (_, key) => right.forceRelease(key) }),
    foundBy: RELEASES,
  },
  {
    name: 'a batch of releases returns before it is carried out',
    plant: (right) =>
      inBatches(right, {
        async release(_, ...request) {
          setTimeout(() => void right.release(...request), 5);
          return true;
        },
      }),
    foundBy:
      'B93 many keys can be acquired and released repeatedly at the same time without affecting each other',
  },
  {
    name: 'a batch contains a key twice',
    plant: (right) => {
      const batch = new Map<string, Promise<LockAcquireResult>>();
      return {
        async acquire(key, owner, ttl, request) {
          const same = batch.get(key);
          // The bug: one statement grants the same key to both of its requests.
          if (same) return same;
          const result = right.acquire(key, owner, ttl, request);
          batch.set(key, result);
          setImmediate(() => batch.delete(key));
          return result;
        },
      };
    },
    foundBy:
      'B93 if two instances acquire the same 300 keys in opposite orders, exactly one of them gets each key',
  },
  {
    name: 'a batch takes a repetition for a first request',
    plant: (right) =>
      inBatches(right, {
        acquire: (_, key, owner, ttl, request) =>
          right.acquire(key, owner, ttl, { ...request, resend: false }),
      }),
    foundBy:
      'B93 a repeated request among many simultaneous ones gets its own lock again, or counts as a new request',
  },
  {
    name: 'a batch takes a repetition for a first request once its lease has expired',
    plant: (right) =>
      inBatches(right, {
        acquire: async (_, key, owner, ttl, request) =>
          right.acquire(key, owner, ttl, {
            ...request,
            resend: request?.resend && !(await right.isExpired(key)),
          }),
      }),
    foundBy:
      'B93 if a repeated request among many gets its key after its lease has expired, no failed run is recorded',
  },
  {
    name: 'a batch of releases ignores keepFor',
    plant: (right) =>
      inBatches(right, {
        release: (_, key, owner, end) => right.release(key, owner, { ...end, keepFor: 0 }),
      }),
    foundBy: 'B93 a release with keepFor among many simultaneous releases keeps only its own key taken',
  },
  {
    name: 'a batch grants paused keys',
    plant: (right) =>
      inBatches(right, {
        async acquire(_, key, ...rest) {
          const wasPaused = await right.resume(key);
          const result = await right.acquire(key, ...rest);
          if (wasPaused) await right.pause(key);
          return result;
        },
      }),
    foundBy: 'B93 among many simultaneous requests, only those for paused keys are refused as paused',
  },
  {
    name: 'a batch ignores ticks and stealAfter',
    plant: (right) =>
      inBatches(right, {
        acquire: (_, key, owner, ttl, request) => right.acquire(key, owner, ttl, { label: request?.label }),
      }),
    foundBy: 'B93 once and stealAfter apply only to their own request among many simultaneous ones',
  },
];

/**
 * Returns the operations of a store that serves batches wrongly and single requests correctly.
 */
function inBatches(right: RightStore, difference: Difference): Pick<Port, 'acquire' | 'release'> {
  const acquire = difference.acquire ?? ((_, ...request) => right.acquire(...request));
  const release = difference.release ?? ((_, ...request) => right.release(...request));
  const acquisitions = batcherOf<Acquisition, LockAcquireResult>(
    (...request) => right.acquire(...request),
    async (requests) => {
      const results = await Promise.all(requests.map((request) => acquire(right, ...request)));
      return difference.acquired?.(results) ?? results;
    },
  );
  const releases = batcherOf<Release, boolean>(
    (...request) => right.release(...request),
    async (requests) => {
      const results = await Promise.all(requests.map((request) => release(right, ...request)));
      return difference.released?.(results) ?? results;
    },
  );
  return { acquire: acquisitions, release: releases };
}

function batcherOf<Request extends [key: string, ...unknown[]], Result>(
  sendOne: (...request: Request) => Promise<Result>,
  sendMany: (requests: Request[]) => Promise<Result[]>,
): (...request: Request) => Promise<Result> {
  const batcher = new Batcher<{ key: string; timeout: number; request: Request }, Result>(
    {
      sendOne: async ({ request }) => sendOne(...request),
      sendMany: (requests) => sendMany(requests.map(({ request }) => request)),
      failureOf: (_, failure) => failure,
    },
    () => ({ alone: 1, smallest: 2, connections: 5 }),
  );
  return (...request) => batcher.send({ key: request[0], timeout: 10_000, request });
}

function rotated<T>(results: T[]): T[] {
  return [...results.slice(1), ...results.slice(0, 1)];
}
