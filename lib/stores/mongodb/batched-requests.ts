import type { LockAcquireResult } from '../../interfaces/lock-store.interface.js';
import { LockStoreError } from '../../lock.errors.js';
import { Batcher, type BatchLimits } from '../shared/batcher.js';
import { isPlain } from '../shared/conditions.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import type { LeaseRequest, Release } from '../shared/requests.js';
import * as batch from './batch-commands.js';
import type { LockCollection, OpenLocks } from './lock-collection.js';
import * as commands from './lock-commands.js';

/** What messages and limits need to know about the request of one caller. */
export interface LockOperation {
  /** The name in messages, such as `acquire "nightly-report"`. */
  doing: string;
  /** The limit in milliseconds. By default 10 s. */
  timeout?: number | undefined;
  /** The owner ids in the request, which no error may show. */
  owners: readonly string[];
}

/** The acquisition of a key, on behalf of one caller. */
interface Acquisition {
  key: string;
  timeout: number;
  operation: LockOperation;
  lease: LeaseRequest;
}

/** The release of a key, on behalf of one caller. */
interface ReleaseOfKey {
  key: string;
  timeout: number;
  operation: LockOperation;
  release: Release;
  /** Set after a batch: whether the batch may have released the key. */
  wasReleased?: boolean;
}

/**
 * Two requests are sent one by one, since a server serves them as fast as one (measured).
 * Three requests share a command.
 */
const PAYS_FROM = { alone: 2, smallest: 3 };

/** The default size of the driver's pool. */
const POOL_SIZE = 100;

/**
 * Sends the acquisitions and releases of a store. Requests for free keys without conditions
 * share commands, and so do releases that free the key at once. All other requests are sent
 * one by one, and so are repetitions, which find out the outcome for one owner.
 */
export class BatchedRequests {
  readonly #acquisitions: Batcher<Acquisition, LockAcquireResult>;
  readonly #releases: Batcher<ReleaseOfKey, boolean>;

  /** @param batching `false` sends each request alone */
  constructor(
    private readonly locks: LockCollection,
    private readonly batching: boolean,
  ) {
    const limits = (): BatchLimits => ({ ...PAYS_FROM, connections: connectionsOf(locks) });
    const failureOf = ({ operation }: { operation: LockOperation }, failure: unknown) =>
      locks.failureOf(failure, operation.doing, operation.owners);
    this.#acquisitions = new Batcher<Acquisition, LockAcquireResult>(
      {
        sendOne: ({ operation, lease }, timeout, again) =>
          this.#acquireOne({ ...operation, timeout }, again ? { ...lease, resend: true } : lease),
        sendMany: (requests, timeout) => {
          const leases = requests.map(({ lease }) => lease);
          const doing = `acquire ${leases.length} locks`;
          return this.#sendMany(doing, timeout, (open) => batch.acquireMany(open, leases));
        },
        failureOf,
      },
      limits,
    );
    this.#releases = new Batcher<ReleaseOfKey, boolean>(
      {
        sendOne: async ({ operation, release, wasReleased }, timeout) =>
          (await this.#releaseOne({ ...operation, timeout }, release)) || wasReleased === true,
        sendMany: (requests, timeout) => this.#releaseMany(requests, timeout),
        failureOf,
      },
      limits,
    );
  }

  async acquire(operation: LockOperation, lease: LeaseRequest): Promise<LockAcquireResult> {
    const { timeout = OPERATION_LIMIT } = operation;
    const isShared = this.batching && isPlain(lease);
    if (!isShared) return this.#acquireOne(operation, lease);
    return this.#acquisitions.send({ key: lease.key, timeout, operation, lease });
  }

  async release(operation: LockOperation, release: Release): Promise<boolean> {
    const { timeout = OPERATION_LIMIT } = operation;
    const isShared = this.batching && release.keepFor === 0;
    if (!isShared) return this.#releaseOne(operation, release);
    return this.#releases.send({ key: release.key, timeout, operation, release });
  }

  #acquireOne({ doing, ...limits }: LockOperation, lease: LeaseRequest): Promise<LockAcquireResult> {
    return this.locks.run(doing, (open) => commands.acquire(open, lease), limits);
  }

  #releaseOne({ doing, ...limits }: LockOperation, release: Release): Promise<boolean> {
    return this.locks.run(doing, (open) => commands.release(open, release), limits);
  }

  async #releaseMany(
    requests: readonly ReleaseOfKey[],
    timeout: number,
  ): Promise<(boolean | undefined)[] | undefined> {
    const releases = requests.map(({ release }) => release);
    const doing = `release ${releases.length} locks`;
    const released = await this.#sendMany(doing, timeout, (open) => batch.releaseMany(open, releases));
    if (!released) return undefined;
    const { acknowledged, keys, doubtful } = released;
    for (const request of requests) request.wasReleased = doubtful || keys.has(request.key);
    return acknowledged ? requests.map(({ key }) => keys.has(key) || undefined) : undefined;
  }

  /**
   * Runs the commands of a batch. Resolves to `undefined` if the server refused them.
   * @throws the error of the driver, if the outcome is unknown
   */
  async #sendMany<T>(
    doing: string,
    timeout: number,
    work: (open: OpenLocks) => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await this.locks.runForMany(doing, timeout, work);
    } catch (error) {
      const failure = this.locks.failureOf(error, doing);
      if (failure instanceof LockStoreError && failure.transient) throw error;
      return undefined;
    }
  }
}

/**
 * How many connections the batches may use: half of the pool, so that the application keeps
 * the other half.
 */
function connectionsOf({ poolSize = POOL_SIZE }: LockCollection): number {
  return Math.max(1, Math.floor((poolSize || POOL_SIZE) / 2));
}
