import { parseDuration, type Duration } from '../options/duration.js';
import type { LockInspection, LockPage } from '../interfaces/lock-record.interface.js';
import type {
  LockInspector,
  LockPauser,
  LockStore,
  StoreDescription,
} from '../interfaces/lock-store.interface.js';
import { assertKey } from '../options/lock-key.js';
import { LockError, show } from '../lock.errors.js';
import type { LockLogger } from '../engine/lock.logger.js';
import { assertKnownOptions } from '../options/known-options.js';

type Store = LockStore & Partial<LockInspector & LockPauser & StoreDescription>;

/** The parts of a lock module that its `LockAdmin` uses. */
export interface LockAdminOptions {
  /** Opens the store, or returns the open store. */
  store: () => Promise<Store>;
  /** The prefix that the module puts before each key. */
  prefix: string;
  logger: LockLogger;
  /**
   * Wakes up the waiters of this process for a key that may be free. `storeKey` has the
   * prefix.
   */
  released: (storeKey: string) => void;
  /**
   * Completes the result of an inspection: it adds when the scheduled methods of the key ran
   * last, and how many ticks they missed.
   */
  addTicks: (
    found: LockInspection,
    inspect: (key: string) => Promise<LockInspection>,
  ) => Promise<LockInspection>;
}

/**
 * Shows locks and changes them from outside, whatever their owner: for operators, their pages
 * and their scripts. Keys are given and returned without the module's prefix.
 *
 * Inject it by its class, or with `@InjectLockAdmin('name')` where `LockModule` has a name.
 * Every method rejects with `LockStoreError` when the store fails, and with `LockError` when
 * the store does not support the operation.
 *
 * @publicApi
 */
export class LockAdmin {
  readonly #options: LockAdminOptions;

  /** @internal */
  constructor(options: LockAdminOptions) {
    this.#options = options;
  }

  /**
   * Reports whether the key is held, expired or free, its holder, and how its last run ended.
   */
  async inspect(key: string): Promise<LockInspection> {
    const look = (one: string): Promise<LockInspection> => this.#inspect(one);
    return this.#options.addTicks(await look(key), look);
  }

  async #inspect(key: string): Promise<LockInspection> {
    const store = await this.#inspector('inspect');
    assertKey(key);
    const found = await store.inspect(this.#options.prefix + key);
    return found.state === 'free' ? { ...found, key } : { ...found, key, holder: { ...found.holder, key } };
  }

  /** Reports whether the key is held, by this or another process. */
  async isLocked(key: string): Promise<boolean> {
    const store = await this.#inspector('inspect');
    assertKey(key);
    const storeKey = this.#options.prefix + key;
    return store.isHeld ? store.isHeld(storeKey) : (await store.inspect(storeKey)).state === 'held';
  }

  /**
   * Lists the locks that are held now, with this module's prefix, ordered by key.
   *
   * @param page `limit` is 1 to 1000, default 100; `after` is the `next` of the previous page
   */
  async list(
    page: {
      /** How many locks a page has at most, 1 to 1000. Default 100. */
      limit?: number | undefined;
      /** The `next` of the previous page. Default: the first page. */
      after?: string | undefined;
    } = {},
  ): Promise<LockPage> {
    assertKnownOptions('list()', page, ['limit', 'after']);
    const { limit = 100, after } = page;
    if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
      throw new LockError(`The limit of list() must be 1 to 1000, but it is ${show(limit)}.`);
    const store = await this.#inspector('list');
    const { prefix } = this.#options;
    const found = await store.list({ prefix, limit, after });
    return { ...found, locks: found.locks.map((lock) => ({ ...lock, key: lock.key.slice(prefix.length) })) };
  }

  /**
   * Frees a key, whatever its owner. The holder notices it at its next renewal. Until then two
   * processes may believe that they hold the lock.
   *
   * @param request `reason` is logged
   * @returns `false` if the key was free already
   */
  async forceRelease(
    key: string,
    request: {
      /** Why the key is freed. The reason is logged. */
      reason: string;
    },
  ): Promise<boolean> {
    const store = await this.#inspector('forceRelease');
    assertKey(key);
    if (typeof request?.reason !== 'string' || request.reason.trim() === '') {
      throw new LockError(
        `forceRelease("${key}") needs a reason, which is logged: forceRelease(key, { reason: '…' }).`,
      );
    }
    const storeKey = this.#options.prefix + key;
    const released = await store.forceRelease(storeKey);
    this.#options.logger.forceReleased(key, request.reason, released);
    this.#options.released(storeKey);
    return released;
  }

  /**
   * Deletes free keys with this module's prefix that were not used for `olderThan`, and their
   * run history. It never deletes a key that is held, paused, or kept taken after its release.
   * The tokens of a deleted key keep growing. In a module without a prefix, it goes through
   * all keys of the table.
   *
   * @param request `olderThan` is 0 or more milliseconds, or a text such as `'7d'`. Use at
   * least a few seconds. With less, an acquisition that began before the purge may get a
   * token smaller than that of the deleted row
   * @returns how many keys were deleted
   */
  async purge(request: {
    /** How long a key was not used, 0 or more. */
    olderThan: Duration;
  }): Promise<number> {
    assertKnownOptions('purge()', request, ['olderThan']);
    const olderThan = parseDuration('The option "olderThan" of purge()', request.olderThan, { min: 0 });
    const store = await this.#inspector('purge');
    return store.purge({ prefix: this.#options.prefix, olderThan });
  }

  /**
   * Pauses a key for all instances of the application. No call gets the key until it is
   * resumed, even if every instance restarts meanwhile. The present holder keeps the lock, and
   * can renew and release it. Calls are refused at once, even if they would wait, and
   * scheduled methods are skipped.
   *
   * @returns `false` if the key was paused already
   */
  async pause(key: string): Promise<boolean> {
    const store = await this.#pauser('pause');
    assertKey(key);
    const paused = await store.pause(this.#options.prefix + key);
    if (paused) this.#options.logger.warn('paused', key);
    return paused;
  }

  /** Ends the pause of a key, see {@link pause}. @returns `false` if it was not paused */
  async resume(key: string): Promise<boolean> {
    const store = await this.#pauser('resume');
    assertKey(key);
    const storeKey = this.#options.prefix + key;
    const resumed = await store.resume(storeKey);
    if (resumed) this.#options.logger.resumed(key);
    return resumed;
  }

  async #inspector(operation: keyof LockInspector): Promise<LockInspector> {
    const store = await this.#options.store();
    if (typeof store[operation] === 'function') return store as Store & LockInspector;
    throw lacks(store, operation, 'LockInspector');
  }

  async #pauser(operation: keyof LockPauser): Promise<LockPauser> {
    const store = await this.#options.store();
    if (typeof store[operation] === 'function') return store as Store & LockPauser;
    throw lacks(store, operation, 'LockPauser');
  }
}

function lacks(store: Store, operation: string, capability: string): LockError {
  return new LockError(
    `The lock store (${store.describe?.() ?? store.constructor.name}) does not implement ${operation}(). Use a store that implements ${capability}.`,
  );
}
