import type { LockStore, StoreLifecycle } from '../interfaces/lock-store.interface.js';
import { acquiring } from './conformance/acquiring.cases.js';
import {
  batches,
  batchesKept,
  batchesOnConditions,
  batchesPaused,
  batchesResent,
  batchesResentInspected,
} from './conformance/batches.cases.js';
import { ConformanceTrial, type Cases } from './conformance/conformance-trial.js';
import { expiry } from './conformance/expiry.cases.js';
import { inspecting } from './conformance/inspecting.cases.js';
import { keys } from './conformance/keys.cases.js';
import { listing, listingOfLeases } from './conformance/listing.cases.js';
import {
  malformed,
  malformedInspection,
  malformedKeeping,
  malformedOnce,
  malformedReleasesToWaiters,
  malformedPausing,
  malformedPurge,
  malformedStealing,
} from './conformance/malformed.cases.js';
import { oncePerTick, oncePerTickInspected } from './conformance/once.cases.js';
import {
  releasingToWaiters,
  releasingToWaitersInspected,
  releasingToWaitersOnce,
  releasingToWaitersPaused,
} from './conformance/release-to-waiter.cases.js';
import { pausing, pausingInspected, pausingOnce } from './conformance/pausing.cases.js';
import { purging } from './conformance/purging.cases.js';
import { races } from './conformance/races.cases.js';
import { keeping, releasing } from './conformance/releasing.cases.js';
import { renewMany } from './conformance/renew-many.cases.js';
import { renewing } from './conformance/renewing.cases.js';
import { resend, resendKept } from './conformance/resend.cases.js';
import { scheduled, scheduledInspected, scheduledStealing } from './conformance/scheduled.cases.js';
import { sessionBound } from './conformance/session-bound.cases.js';
import { stealing, stealingInspected } from './conformance/stealing.cases.js';

type Part =
  | 'leases'
  | 'holder'
  | 'resend'
  | 'keepFor'
  | 'inspect'
  | 'renewMany'
  | 'releaseToWaiter'
  | 'pause'
  | 'once'
  | 'stealAfter';

/** Options of the conformance cases. @publicApi */
export interface ConformanceOptions {
  /** The number of store objects that race each other. Default 4. */
  instances?: number | undefined;
  /**
   * The number of simultaneous acquisitions in a race, spread over the instances. Default 32.
   */
  racers?: number | undefined;
  /** How many times each race runs. Default 10. */
  rounds?: number | undefined;
  /** The ttl in milliseconds of cases that wait for a lease to expire. Default 200. */
  ttl?: number | undefined;
  /**
   * A case fails if a key is still taken this many milliseconds after the end of its lease.
   * Default 10,000.
   */
  patience?: number | undefined;
  /**
   * The parts of the port that the store does not implement. The cases of a missing part fail
   * if it is not named here.
   *
   * - `inspect`: `LockInspector`; `renewMany`: `BatchRenewer`; `releaseToWaiter`:
   *   `WaiterRelease`; `pause`: `LockPauser`.
   * - `once`, `stealAfter`, `resend`: these properties of an `AcquireRequest`.
   * - `keepFor`: this property of a `ReleaseRequest`.
   * - `holder`: the refusal names the holder.
   * - `leases`: the store is `SessionBound`. Its locks have no ttl, belong to one instance,
   *   and leave nothing behind. Other cases replace the cases of leases.
   */
  without?: Part[] | undefined;
}

/** A test case for one rule that a store has to follow. @publicApi */
export interface ConformanceCase {
  /** The rule, as the title of a test. */
  name: string;
  /** Runs the case. It rejects with an error that says what the store does wrong. */
  run: () => Promise<void>;
}

/**
 * Makes test cases that check a store by the rules of the port, for any test runner:
 * `for (const { name, run } of lockStoreConformance(create)) it(name, run)`.
 *
 * Keys are random, so that cases may run at the same time on one database. Leases that a case
 * leaves behind expire by themselves.
 *
 * @param createStore returns a new store object on the same database at each call. The cases
 * call its `prepare` and `close`, if it has them
 * @publicApi
 */
export function lockStoreConformance(
  createStore: () => LockStore | Promise<LockStore>,
  options: ConformanceOptions = {},
): ConformanceCase[] {
  const { without = [], ...chosen } = options;
  const settings = {
    instances: 4,
    racers: 32,
    rounds: 10,
    ttl: 200,
    patience: 10_000,
    ...chosen,
    holder: !without.includes('holder'),
  };
  const ofSessions: Cases = {
    ...sessionBound,
    ...whenDone(
      { ...acquiring, ...keys, ...malformed, ...malformedKeeping, ...listing, ...malformedInspection },
      'inspect',
    ),
  };
  const ofLeases: Cases = {
    ...acquiring,
    ...whenDone(resend, 'resend'),
    ...whenDone(resendKept, 'resend', 'keepFor'),
    ...renewing,
    ...releasing,
    ...whenDone({ ...keeping, ...malformedKeeping }, 'keepFor'),
    ...expiry,
    ...keys,
    ...malformed,
    ...races,
    ...batches,
    ...whenDone(batchesResent, 'resend'),
    ...whenDone(batchesResentInspected, 'resend', 'inspect'),
    ...whenDone(batchesKept, 'keepFor'),
    ...whenDone(batchesPaused, 'pause'),
    ...whenDone(batchesOnConditions, 'once', 'stealAfter'),
    ...whenDone(renewMany, 'renewMany'),
    ...whenDone({ ...releasingToWaiters, ...malformedReleasesToWaiters }, 'releaseToWaiter'),
    ...whenDone(releasingToWaitersInspected, 'releaseToWaiter', 'inspect'),
    ...whenDone(releasingToWaitersPaused, 'releaseToWaiter', 'pause'),
    ...whenDone(releasingToWaitersOnce, 'releaseToWaiter', 'once'),
    ...whenDone({ ...inspecting, ...listing, ...listingOfLeases, ...purging }, 'inspect'),
    ...whenDone({ ...malformedInspection, ...malformedPurge }, 'inspect'),
    ...whenDone({ ...stealing, ...malformedStealing }, 'stealAfter'),
    ...whenDone(stealingInspected, 'stealAfter', 'inspect'),
    ...whenDone({ ...oncePerTick, ...scheduled, ...malformedOnce }, 'once'),
    ...whenDone({ ...oncePerTickInspected, ...scheduledInspected }, 'once', 'inspect'),
    ...whenDone(scheduledStealing, 'once', 'stealAfter'),
    ...whenDone({ ...pausing, ...malformedPausing }, 'pause'),
    ...whenDone(pausingInspected, 'pause', 'inspect'),
    ...whenDone(pausingOnce, 'pause', 'once', 'stealAfter'),
  };
  return Object.entries(without.includes('leases') ? ofSessions : ofLeases).map(([name, body]) => ({
    name,
    run: () =>
      withStores(createStore, async (open) => body(new ConformanceTrial(await open(), settings, open))),
  }));

  function whenDone(some: Cases, ...parts: Part[]): Cases {
    if (parts.some((part) => without.includes(part))) return {};
    return Object.fromEntries(Object.entries(some).map(([name, body]) => [name, hinting(body, parts)]));
  }
}

/**
 * Adds a hint to a failure that says how to leave these cases out, since a store need not
 * implement every part of the port.
 */
function hinting(body: Cases[string], parts: readonly Part[]): Cases[string] {
  return async (t) => {
    try {
      await body(t);
    } catch (error) {
      // `instanceof Error` may be false, since a test runner may have its own Error.
      const failure = Object(error) as { message?: unknown };
      if (typeof failure.message === 'string' && !failure.message.includes('without: ['))
        failure.message += ` (if the store is not meant to do this, leave these cases out: { without: ["${parts[0]}"] })`;
      throw error;
    }
  };
}

async function withStores(
  createStore: () => LockStore | Promise<LockStore>,
  use: (open: () => Promise<LockStore>) => Promise<void>,
): Promise<void> {
  const opened: (LockStore & Partial<StoreLifecycle>)[] = [];
  const open = async (): Promise<LockStore> => {
    const store: LockStore & Partial<StoreLifecycle> = await createStore();
    opened.push(store);
    await store.prepare?.();
    return store;
  };
  try {
    await use(open);
  } catch (error) {
    await closeAll(); // an error of closing must not hide the error of the case
    throw error;
  }
  const failures = (await closeAll()).filter((result) => result.status === 'rejected');
  if (failures[0]) throw failures[0].reason;

  function closeAll(): Promise<PromiseSettledResult<void>[]> {
    return Promise.allSettled(opened.map(async (store) => store.close?.()));
  }
}
