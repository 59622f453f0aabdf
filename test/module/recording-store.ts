import { MemoryLockStore } from '../../lib/index.js';
import type { AcquireRequest, ReleaseRequest, WaiterRequest } from '../../lib/interfaces/index.js';

/**
 * A store that records its calls and can acquire locks as another instance of the application.
 */
export class RecordingStore extends MemoryLockStore {
  readonly calls: string[] = [];

  override async acquire(key: string, owner: string, ttl: number, request?: AcquireRequest) {
    this.calls.push(`acquire ${key}`);
    return super.acquire(key, owner, ttl, request);
  }

  override async release(key: string, owner: string, end?: ReleaseRequest): Promise<boolean> {
    this.calls.push(`release ${key}`);
    return super.release(key, owner, end);
  }

  override async releaseToWaiter(key: string, owner: string, next: WaiterRequest, end?: ReleaseRequest) {
    this.calls.push(`releaseToWaiter ${key}`);
    return super.releaseToWaiter(key, owner, next, end);
  }

  /** Acquires the lock as another instance of the application would. */
  async holdElsewhere(key: string): Promise<{ release(): Promise<void> }> {
    const owner = `elsewhere ${key}`;
    const { acquired } = await super.acquire(key, owner, 60_000, { label: 'api-2:77' });
    if (!acquired) throw new Error(`"${key}" is held already.`);
    return {
      release: async () => {
        await super.release(key, owner);
      },
    };
  }

  /** Resolves to whether the key is held now. */
  async holds(key: string): Promise<boolean> {
    return (await this.inspect(key)).state === 'held';
  }
}
