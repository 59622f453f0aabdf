import { EventEmitter, once } from 'node:events';
import { MemoryLockStore } from '../../../lib/index.js';
import type { AcquireRequest, LeaseRenewal, LockAcquireResult } from '../../../lib/interfaces/index.js';

/**
 * A store in memory that can hold a key for another instance, and that reports renewals and
 * refusals.
 */
export class WatchedStore extends MemoryLockStore {
  attempts = 0;
  /** If this error is set, each attempt to acquire a lock throws it. */
  failure: Error | undefined;
  readonly #watch = new EventEmitter();

  override async acquire(
    key: string,
    owner: string,
    ttl: number,
    request?: AcquireRequest,
  ): Promise<LockAcquireResult> {
    this.attempts++;
    if (this.failure) throw this.failure;
    const answer = await super.acquire(key, owner, ttl, request);
    if (!answer.acquired) this.#watch.emit('refused');
    return answer;
  }

  override async renewMany(leases: readonly LeaseRenewal[]) {
    const outcomes = await super.renewMany(leases);
    this.#watch.emit('renewed');
    return outcomes;
  }

  /**
   * Resolves after this number of renewals. Locks are renewed after each third of the ttl, so
   * more than three renewals take longer than a ttl.
   */
  async renewed(times: number): Promise<void> {
    for (let renewal = 0; renewal < times; renewal++) await once(this.#watch, 'renewed');
  }

  /** Resolves when the store refuses an acquisition. */
  async refused(): Promise<void> {
    await once(this.#watch, 'refused');
  }

  /**
   * Gives the key to another instance. The former holder notices the loss at its next renewal.
   */
  async holdElsewhere(key: string, ttl = 60_000): Promise<{ release: () => Promise<boolean> }> {
    await this.forceRelease(key);
    await super.acquire(key, 'elsewhere', ttl, { label: 'api-2:77' });
    return { release: () => super.release(key, 'elsewhere') };
  }
}
