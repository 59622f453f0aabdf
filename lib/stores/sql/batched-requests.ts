import type { LockAcquireResult } from '../../interfaces/lock-store.interface.js';
import { Batcher, type BatchLimits } from '../shared/batcher.js';
import { isPlain } from '../shared/conditions.js';
import type { LeaseRequest, Release } from '../shared/requests.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import { attempt, queueForKey } from './attempts.js';
import type { LockOperation, LockOperations } from './lock-operations.js';
import type { ReleaseResult, Settle } from './lock-statements.js';

/** A request of one caller to acquire a key. */
interface Acquisition {
  key: string;
  timeout: number;
  operation: LockOperation;
  lease: LeaseRequest;
  /**
   * Whether the caller keeps waiting after a refusal, and the store can notify this process
   * when the key is released.
   */
  waiting: boolean;
  /**
   * Whether this process had been notified of the key before its request in a batch. Undefined
   * if the request was sent alone, since such an attempt can put this process into the queue
   * itself.
   */
  wasNotified?: boolean | undefined;
}

/** A request of one caller to release a key. */
interface ReleaseOfKey {
  key: string;
  timeout: number;
  operation: LockOperation;
  release: Release;
  /** Sends the release outside of batches. */
  sendOne: (operation: LockOperation) => Promise<ReleaseResult>;
  /** `done` if an earlier batch may have released the key already. */
  before?: 'done' | undefined;
}

/**
 * Turns batches off, in case the store is opened again on a database without batches while
 * requests still wait to be sent.
 */
const ONE_BY_ONE: BatchLimits = { alone: 1, smallest: Infinity, connections: 1 };

/**
 * Sends the acquisitions and releases of a store. Requests for free keys without conditions
 * share statements, and so do releases that free their keys at once. All other requests are
 * sent one by one. So is a re-sent request whose owner already has the lock.
 */
export class BatchedRequests {
  readonly #acquisitions: Batcher<Acquisition, LockAcquireResult>;
  readonly #releases: Batcher<ReleaseOfKey, ReleaseResult>;

  constructor(private readonly operations: LockOperations) {
    const limits = (): BatchLimits => operations.batching ?? ONE_BY_ONE;
    const failureOf = ({ operation }: { operation: LockOperation }, failure: unknown) =>
      operations.failureOf(operation, failure);
    this.#acquisitions = new Batcher<Acquisition, LockAcquireResult>(
      {
        sendOne: (request, timeout, again) => {
          request.wasNotified = undefined;
          const { operation, lease, waiting } = request;
          return attempt(
            operations,
            { ...operation, timeout },
            again ? { ...lease, resend: true } : lease,
            waiting,
          );
        },
        sendMany: (requests, timeout, settle) => this.#acquireMany(requests, timeout, settle),
        failureOf,
      },
      limits,
    );
    this.#releases = new Batcher<ReleaseOfKey, ReleaseResult>(
      {
        sendOne: async ({ operation, sendOne, before }, timeout) => {
          const result = await sendOne({ ...operation, timeout });
          return result === 'gone' ? (before ?? result) : result;
        },
        sendMany: (requests, timeout) => this.#releaseMany(requests, timeout),
        failureOf,
      },
      limits,
    );
  }

  async acquire(operation: LockOperation, lease: LeaseRequest, waiting: boolean): Promise<LockAcquireResult> {
    this.operations.expectTtl(lease.ttl);
    const isShared = this.operations.batching && isPlain(lease);
    if (!isShared) return attempt(this.operations, operation, lease, waiting);
    const { timeout = OPERATION_LIMIT } = operation;
    const request: Acquisition = { key: lease.key, timeout, operation, lease, waiting };
    const result = await this.#acquisitions.send(request);
    const isHeld = !result.acquired && result.reason === 'held';
    const { wasNotified } = request;
    if (!isHeld || !waiting || wasNotified === undefined || !this.operations.wakeUps?.canQueue())
      return result;
    return queueForKey(this.operations, operation, lease.key, result, wasNotified);
  }

  /**
   * @param waiting whether this process also waits for the key, and can be notified when it is
   * released
   * @param sendOne sends the release outside of batches
   */
  release(
    operation: LockOperation,
    release: Release,
    waiting: boolean,
    sendOne: (operation: LockOperation) => Promise<ReleaseResult>,
  ): Promise<ReleaseResult> {
    const { key, keepFor } = release;
    const { batching, wakeUps } = this.operations;
    const isShared = batching && keepFor === 0 && !waiting && !wakeUps?.isContended(key);
    if (!isShared) return sendOne(operation);
    const { timeout = OPERATION_LIMIT } = operation;
    return this.#releases.send({ key, timeout, operation, release, sendOne });
  }

  async #acquireMany(
    requests: readonly Acquisition[],
    timeout: number,
    settle: Settle,
  ): Promise<(LockAcquireResult | undefined)[] | undefined> {
    const { operations } = this;
    const longest = operations.longestTtl;
    const leases = requests.map(({ lease }) => ({ ...lease, ignored: null, longest }));
    for (const request of requests) request.wasNotified = operations.wakeUps?.polls(request.key) ?? false;
    const { results } = await operations.runForMany('acquire locks', timeout, (statements, run) =>
      statements.acquire(run, leases, settle),
    );
    return results;
  }

  async #releaseMany(
    requests: readonly ReleaseOfKey[],
    timeout: number,
  ): Promise<(ReleaseResult | undefined)[] | undefined> {
    const releases = requests.map(({ release }) => release);
    const { results, before } = await this.operations.runForMany(
      'release locks',
      timeout,
      (statements, run) => statements.release(run, releases),
    );
    const carriedOut = before ?? results;
    for (const [i, request] of requests.entries()) request.before = carriedOut?.[i] && 'done';
    return results?.map((result) => (result === 'doubtful' ? undefined : result));
  }
}
