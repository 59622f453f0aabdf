import type { LockAcquireResult, LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockStoreError } from '../../lib/lock.errors.js';
import { Batcher } from '../../lib/stores/shared/batcher.js';
import type { PlantedBug, Port, RightStore } from './conformance-planted-bugs.js';

type Acquisition = Parameters<LockStore['acquire']>;
type Release = Parameters<LockStore['release']>;

/** The difference between a batch and the sound store, in its requests or its results. */
interface Difference {
  acquire?: (right: RightStore, ...request: Acquisition) => Promise<LockAcquireResult>;
  acquired?: (results: LockAcquireResult[]) => LockAcquireResult[];
  release?: (right: RightStore, ...request: Release) => Promise<boolean>;
  released?: (results: boolean[]) => boolean[];
}

const ACQUISITIONS = 'B93 of 200 acquisitions at once each gets the result for its own key';
const RELEASES = 'B93 of 200 releases at once each ends its own lock only';

/** Bugs of statements that serve many requests. A request sent alone is served correctly. */
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
    foundBy: 'B93 a request that runs out of time among many ends alone',
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
    foundBy: 'B93 many keys that are taken and released over and over at once stay apart',
  },
  {
    name: 'a batch contains a key twice',
    plant: (right) => {
      const batch = new Map<string, Promise<LockAcquireResult>>();
      return {
        async acquire(key, owner, ttl, request) {
          const same = batch.get(key);
          if (same) return same; // One statement grants the key to both requests.
          const result = right.acquire(key, owner, ttl, request);
          batch.set(key, result);
          setImmediate(() => batch.delete(key));
          return result;
        },
      };
    },
    foundBy: 'B93 of two instances that want the same 300 keys in opposite orders one gets each key',
  },
  {
    name: 'a batch takes a repetition for a first request',
    plant: (right) =>
      inBatches(right, {
        acquire: (_, key, owner, ttl, request) =>
          right.acquire(key, owner, ttl, { ...request, resend: false }),
      }),
    foundBy:
      'B93 of many requests at once, those that are sent again get their own locks again, or are like any other',
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
      'B93 a request that is sent again among many, after its lease ran out, leaves no failed run behind',
  },
  {
    name: 'a batch of releases ignores keepFor',
    plant: (right) =>
      inBatches(right, {
        release: (_, key, owner, end) => right.release(key, owner, { ...end, keepFor: 0 }),
      }),
    foundBy: 'B93 a release that keeps its key among many others keeps that key alone',
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
    foundBy: 'B93 paused keys among many requests are refused, and the others are granted',
  },
  {
    name: 'a batch ignores ticks and stealAfter',
    plant: (right) =>
      inBatches(right, {
        acquire: (_, key, owner, ttl, request) => right.acquire(key, owner, ttl, { label: request?.label }),
      }),
    foundBy: 'B93 runs of a tick, and thefts, keep their conditions among many requests',
  },
];

/** A store whose shared statements differ from those of the sound store. */
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
