import { parseDuration, type Duration } from '../options/duration.js';
import type { LockInspection, LockPage } from '../interfaces/lock-record.interface.js';
import type {
  LockInspector,
  LockPauser,
  LockStore,
  StoreDescription,
} from '../interfaces/lock-store.interface.js';
import { assertKey } from '../options/lock-key.js';
import { LockError } from '../lock.errors.js';
import type { LockLogger } from '../engine/lock.logger.js';
import { assertKnownOptions } from '../options/known-options.js';
import { show } from '../error-text.js';

type Store = LockStore & Partial<LockInspector & LockPauser & StoreDescription>;

/** What the administration needs of the service. */
export interface LockAdministrationTerms {
  /** Opens the store, or gives the one that is open. */
  store: () => Promise<Store>;
  /** What the service puts before each key. */
  prefix: string;
  logger: LockLogger;
  /** A key, as the store knows it, may be free. */
  freed: (storeKey: string) => void;
}

/** Looks at locks, frees and deletes them from outside, whoever has them. Keys come in and go out without the prefix. */
export class LockAdministration {
  constructor(private readonly terms: LockAdministrationTerms) {}

  async inspect(key: string): Promise<LockInspection> {
    const store = await this.#inspector('inspect');
    assertKey(key);
    const found = await store.inspect(this.terms.prefix + key);
    return found.state === 'free' ? { ...found, key } : { ...found, key, holder: { ...found.holder, key } };
  }

  async isLocked(key: string): Promise<boolean> {
    const store = await this.#inspector('inspect');
    assertKey(key);
    const storeKey = this.terms.prefix + key;
    return store.isHeld ? store.isHeld(storeKey) : (await store.inspect(storeKey)).state === 'held';
  }

  async list(page: { limit?: number; after?: string }): Promise<LockPage> {
    assertKnownOptions('list()', page, ['limit', 'after']);
    const { limit = 100, after } = page;
    if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
      throw new LockError(`The limit of list() must be 1 to 1000, but it is ${show(limit)}.`);
    const store = await this.#inspector('list');
    const { prefix } = this.terms;
    const found = await store.list({ prefix, limit, after });
    return { ...found, locks: found.locks.map((lock) => ({ ...lock, key: lock.key.slice(prefix.length) })) };
  }

  async forceRelease(key: string, request: { reason: string }): Promise<boolean> {
    const store = await this.#inspector('forceRelease');
    assertKey(key);
    if (typeof request?.reason !== 'string' || request.reason.trim() === '') {
      throw new LockError(
        `forceRelease("${key}") needs a reason, which is logged: forceRelease(key, { reason: '…' }).`,
      );
    }
    const storeKey = this.terms.prefix + key;
    const released = await store.forceRelease(storeKey);
    this.terms.logger.forceReleased(key, request.reason, released);
    this.terms.freed(storeKey);
    return released;
  }

  async purge(request: { olderThan: Duration }): Promise<number> {
    assertKnownOptions('purge()', request, ['olderThan']);
    const olderThan = parseDuration('The option "olderThan" of purge()', request.olderThan, { min: 0 });
    const store = await this.#inspector('purge');
    return store.purge({ prefix: this.terms.prefix, olderThan });
  }

  async pause(key: string): Promise<boolean> {
    const store = await this.#pauser('pause');
    assertKey(key);
    const paused = await store.pause(this.terms.prefix + key);
    if (paused) this.terms.logger.paused(key);
    return paused;
  }

  async resume(key: string): Promise<boolean> {
    const store = await this.#pauser('resume');
    assertKey(key);
    const storeKey = this.terms.prefix + key;
    const resumed = await store.resume(storeKey);
    if (resumed) this.terms.logger.resumed(key);
    return resumed;
  }

  async #inspector(operation: keyof LockInspector): Promise<LockInspector> {
    const store = await this.terms.store();
    if (typeof store[operation] === 'function') return store as Store & LockInspector;
    throw lacks(store, operation, 'LockInspector');
  }

  async #pauser(operation: keyof LockPauser): Promise<LockPauser> {
    const store = await this.terms.store();
    if (typeof store[operation] === 'function') return store as Store & LockPauser;
    throw lacks(store, operation, 'LockPauser');
  }
}

function lacks(store: Store, operation: string, capability: string): LockError {
  return new LockError(
    `The lock store (${store.describe?.() ?? store.constructor.name}) does not implement ${operation}(). Use a store that implements ${capability}.`,
  );
}
