import { randomUUID } from 'node:crypto';
import type { Type } from '@nestjs/common';
import { DEFAULT_MODULE } from '../lock.tokens.js';
import type { MemoryLockStore } from '../stores/memory/memory-lock.store.js';

/**
 * The injection token of a testing module's `TestLocks`: the class itself, or a string for a
 * named module.
 *
 * @publicApi
 */
export function getTestLocksToken(name: string = DEFAULT_MODULE): Type<TestLocks> | string {
  return name === DEFAULT_MODULE ? TestLocks : `TestLocks:${name}`;
}

/**
 * Plays the other instances of the application in a test. Get it from an application that
 * imports {@link LockTestingModule}.
 *
 * @publicApi
 */
export class TestLocks {
  constructor(
    private readonly store: MemoryLockStore,
    private readonly prefix: string,
  ) {}

  /**
   * Lets another instance take the key and hold it until the test calls `release`. A present
   * holder loses the lock, and notices the loss at its next renewal.
   *
   * @param label the holder's name in the errors of other calls. Default `another instance`
   */
  async holdElsewhere(
    key: string,
    label = 'another instance',
  ): Promise<{
    /** Releases the lock of the other instance. */
    release(): Promise<void>;
  }> {
    const stored = this.prefix + key;
    const owner = randomUUID();
    await this.store.forceRelease(stored);
    await this.store.acquire(stored, owner, Number.MAX_SAFE_INTEGER, { label });
    return {
      release: async () => {
        await this.store.release(stored, owner);
      },
    };
  }
}
