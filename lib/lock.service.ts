import { systemClock, type Clock, type Timer } from './clock.js';
import type { Duration } from './duration.js';
import type { LockInspection, LockPage } from './interfaces/lock-record.interface.js';
import type {
  LockInspector,
  LockStore,
  SessionBound,
  StoreDescription,
  StoreLifecycle,
} from './interfaces/lock-store.interface.js';
import { LeaseKeeper } from './lease-keeper.js';
import { LockAdministration } from './lock-administration.js';
import { LockContender, type LockCall } from './lock-contender.js';
import { LockContext } from './lock-context.js';
import { assertKey } from './lock-key.js';
import { LockError, LockNotAcquiredError } from './lock.errors.js';
import { LockEventPublisher, type LockEvents } from './lock.events.js';
import { LockLogger } from './lock.logger.js';
import { DEFAULTS, type AcquireOptions, type LockModuleDefaults, type RunOptions } from './lock.options.js';
import {
  ACQUIRE_OPTIONS,
  assertKnownOptions,
  readModuleSettings,
  readSettings,
  readSignal,
  type LockSettings,
  type ModuleSettings,
} from './lock.settings.js';
import type { Lock } from './lock.js';
import { runBody } from './run-body.js';
import { RunningWork } from './running-work.js';
import { assertLeaseOptionsFit } from './session-bound.js';
import { unlocked } from './unlocked.js';
import { WaitQueue } from './wait-queue.js';

type Store = LockStore & Partial<LockInspector & SessionBound & StoreLifecycle & StoreDescription>;

/** What the module hands to the service it makes. */
export interface LockServiceSetup {
  options: LockModuleDefaults;
  /** Makes the store; called once, on start or when locking is enabled. */
  openStore: () => Store | Promise<Store>;
  /** The module's name. Default `default`. */
  name?: string;
  clock?: Clock;
}

/** What exists once the store is open. */
interface Opened {
  store: Store;
  keeper: LeaseKeeper;
  contender: LockContender;
}

/** How a `tryRun` ended. @publicApi */
export type TryRunResult<T> = { acquired: true; value: T } | { acquired: false; error: LockNotAcquiredError };

/**
 * Takes locks and runs work under them.
 *
 * Inject it by its class, or with `@InjectLockService('name')` where `LockModule` was given a name.
 *
 * @publicApi
 */
export class LockService {
  readonly #publisher: LockEventPublisher;
  readonly #logger: LockLogger;
  readonly #clock: Clock;
  readonly #queue: WaitQueue;
  readonly #settings: ModuleSettings;
  /** Those of the module and of decorators, which the store has to be able to keep. */
  readonly #standing: LockSettings[];
  readonly #work: RunningWork;
  readonly #administration: LockAdministration;
  readonly #openStore: LockServiceSetup['openStore'];
  #open: Opened | undefined;
  #opening: Promise<Opened> | undefined;
  #enabled: boolean;
  /** What enable() or disable() asked for last. */
  #wanted = true;
  #stopping = false;
  #hooksChecked = false;

  /** @internal */
  constructor({ options, openStore, name = 'default', clock = systemClock() }: LockServiceSetup) {
    const where = name === 'default' ? 'LockModule' : `LockModule "${name}"`;
    this.#settings = readModuleSettings(where, options);
    this.#standing = [this.#settings.defaults];
    this.#enabled = this.#settings.enabled;
    this.#openStore = openStore;
    this.#clock = clock;
    this.#queue = new WaitQueue(clock);
    this.#work = new RunningWork(clock);
    this.#logger = new LockLogger(name, clock);
    this.#publisher = new LockEventPublisher(name, (event, error) =>
      this.#logger.listenerFailed(event, error),
    );
    this.#logger.listen(this.#publisher.events);
    this.#administration = new LockAdministration({
      store: async () => (await this.start()).store,
      prefix: this.#settings.prefix,
      logger: this.#logger,
      freed: (storeKey) => this.#queue.wake(storeKey),
    });
  }

  /** What happens to the locks of this service: `acquired`, `busy`, `released`, `lost`, `renewFailed`, `storeError`. */
  get events(): LockEvents {
    return this.#publisher.events;
  }

  /** Whether locks are taken at all; see {@link disable}. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** Whether the application is shutting down: no lock is taken any more. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /**
   * Takes the lock, waiting for it as long as `wait` says.
   *
   * @throws LockNotAcquiredError when it is busy, with its holder
   * @throws LockStoreError when the store fails
   */
  async acquire(key: string, options?: AcquireOptions): Promise<Lock> {
    const result = await this.#contend(this.#read('acquire()', key, options));
    if (result instanceof LockNotAcquiredError) throw result;
    return result;
  }

  /** Takes the lock like {@link acquire}, and resolves to `null` when it is busy. */
  async tryAcquire(key: string, options?: AcquireOptions): Promise<Lock | null> {
    const result = await this.#contend(this.#read('tryAcquire()', key, options));
    return result instanceof LockNotAcquiredError ? null : result;
  }

  /**
   * Runs `body` under the lock and releases it. The error of the body is the one that surfaces; a release that fails is only logged.
   *
   * @throws LockNotAcquiredError when the lock is busy: the body did not run
   * @throws LockLostError when the lock was lost while the body ran to its end, unless `onLost` is `'ignore'`
   * @throws LockStoreError when the store fails: the body did not run
   */
  async run<T>(key: string, body: (lock: Lock) => T | Promise<T>, options?: RunOptions): Promise<T> {
    const result = await this.#tryRun(this.#read('run()', key, options), body);
    if (!result.acquired) throw result.error;
    return result.value;
  }

  /** Runs `body` under the lock like {@link run}, and tells when the lock was busy instead of throwing. */
  async tryRun<T>(
    key: string,
    body: (lock: Lock) => T | Promise<T>,
    options?: RunOptions,
  ): Promise<TryRunResult<T>> {
    return this.#tryRun(this.#read('tryRun()', key, options), body);
  }

  /** Whether the key is held, expired or absent, by whom, and how it last ended. */
  async inspect(key: string): Promise<LockInspection> {
    return this.#administration.inspect(key);
  }

  /** Whether somebody holds the key. */
  async isLocked(key: string): Promise<boolean> {
    return (await this.inspect(key)).state === 'held';
  }

  /**
   * The locks that are held now, with this module's prefix, ordered by key.
   *
   * @param page `limit` is 1 to 1000, default 100; `after` is the `next` of the page before
   */
  async list(page: { limit?: number; after?: string } = {}): Promise<LockPage> {
    return this.#administration.list(page);
  }

  /**
   * Frees a key whoever holds it. Its holder is not asked, and learns of it at its next renewal: until then two may believe that they hold it.
   *
   * @param request `reason` is logged
   * @returns `false` when nobody held it
   */
  async forceRelease(key: string, request: { reason: string }): Promise<boolean> {
    return this.#administration.forceRelease(key, request);
  }

  /**
   * Deletes the keys with this module's prefix that are free and have not been used for that long, with what is known of their last run. A key
   * that is held or kept stays, and tokens keep growing. Without a prefix it goes through the keys of the whole table.
   *
   * @param request `olderThan` is milliseconds or such as `'7d'`, from 0. Below a few seconds tokens may not grow: an acquisition that is under way
   * since before may get one that is smaller than that of the key deleted meanwhile
   * @returns how many were deleted
   */
  async purge(request: { olderThan: Duration }): Promise<number> {
    return this.#administration.purge(request);
  }

  /** Runs everything unlocked from here on, in this process. Locks that are held stay held. */
  disable(): void {
    this.#wanted = false;
    if (this.#enabled) this.#logger.disabled();
    this.#enabled = false;
  }

  /**
   * Takes locks from here on, in this process; opens the store if it was not.
   *
   * @throws LockStoreError when the store cannot be opened: locking stays disabled
   */
  async enable(): Promise<void> {
    if (this.#stopping) throw shuttingDown();
    this.#wanted = true;
    await this.start();
    if (!this.#wanted || this.#enabled) return; // disabled again meanwhile, or enabled already
    this.#logger.enabled();
    this.#enabled = true;
  }

  /** @internal Opens the store, once. */
  async start(): Promise<Opened> {
    this.#opening ??= this.#openAll();
    return this.#opening;
  }

  /** @internal Reads a decorator's options, so that they are refused at start and not at the first call. */
  settingsFor(where: string, options: RunOptions): LockSettings {
    const settings = readSettings(where, options, this.#settings.defaults);
    if (!this.#open) this.#standing.push(settings);
    return settings;
  }

  /** @internal `tryRun` for the decorator and the interceptor, whose options have been read. */
  runJob<T>(call: LockCall, body: (lock: Lock) => T | Promise<T>): Promise<TryRunResult<T>> {
    return this.#tryRun(call, body);
  }

  /** @internal Calls `body` as if nothing stood in between, but for the handle that it finds in its `LockContext`. */
  runUnlocked<T>(name: string, body: () => T): T {
    return LockContext.run(this.#unlocked(name), body);
  }

  /** @internal Has a stream that a handler returned given up when nobody uses it within one ttl; `giveUp` tells whether that was so. */
  whenUnused({ key, settings }: LockCall, giveUp: () => boolean): Timer {
    const warn = (): void => this.#logger.unusedStream(key);
    return this.#clock.after(Math.min(settings.ttl, DEFAULTS.ttl), () => giveUp() && warn(), false);
  }

  /** @internal The line logged at start. */
  announce(jobs: string[]): void {
    if (!this.#enabled) this.#logger.disabled();
    else this.#logger.started(jobs, this.#open?.store.describe?.());
  }

  /** @internal Takes no more locks, ends the waits, and awaits the work that runs, up to the limit. */
  async drain(): Promise<void> {
    this.#stop();
    await this.#work.settled(this.#settings.shutdownTimeout);
  }

  /** @internal Releases what is still held and closes the store. */
  async close(): Promise<void> {
    this.#stop();
    const opened = await this.#opening?.catch(() => undefined);
    await opened?.keeper.releaseAll('the application shut down while it was held.');
    await opened?.store.close?.();
  }

  #stop(): void {
    this.#stopping = true;
    this.#queue.close(shuttingDown());
  }

  #storeKey(key: string): string {
    return this.#settings.prefix + key;
  }

  #read(where: string, key: string, options: AcquireOptions | RunOptions | undefined): LockCall {
    assertKey(key);
    if (options === undefined) return { key, settings: this.#settings.defaults };
    assertKnownOptions(where, options, ACQUIRE_OPTIONS);
    const call = `${where} of "${key}"`;
    return {
      key,
      settings: readSettings(call, options, this.#settings.defaults),
      signal: readSignal(call, options.signal),
    };
  }

  async #openAll(): Promise<Opened> {
    let store: Store | undefined;
    try {
      store = await this.#openStore();
      for (const settings of this.#standing) assertLeaseOptionsFit(store, settings);
      await store.prepare?.();
      const keeper = new LeaseKeeper(store, this.#clock, this.#publisher, {
        freed: (storeKey) => this.#queue.wake(storeKey),
        callbackFailed: (error, lease) => this.#logger.callbackFailed(error, lease.key),
        transactionHangs: (lease, open) => this.#logger.transactionHangs(lease.key, open),
      });
      const contender = new LockContender(store, keeper, this.#queue, this.#publisher, this.#clock);
      return (this.#open = { store, keeper, contender });
    } catch (error) {
      // What keeps it from being opened is the error that counts, not what closing it may throw.
      await Promise.resolve()
        .then(() => store?.close?.())
        .catch(() => {});
      this.#opening = undefined; // enable() may try again
      throw error;
    }
  }

  async #tryRun<T>(call: LockCall, body: (lock: Lock) => T | Promise<T>): Promise<TryRunResult<T>> {
    if (typeof body !== 'function')
      throw new LockError(`run("${call.key}") needs the work as its second argument: a function.`);
    const lock = await this.#contend(call);
    if (lock instanceof LockNotAcquiredError) return { acquired: false, error: lock };
    return { acquired: true, value: await this.#work.track(runBody(lock, body, call.settings)) };
  }

  async #contend(call: LockCall): Promise<Lock | LockNotAcquiredError> {
    if (!this.#enabled) return this.#unlocked(call.key);
    const { store, contender } = this.#open ?? (await this.start());
    assertLeaseOptionsFit(store, call.settings);
    this.#checkShutdownHooks(store);
    return contender.contend(call, this.#storeKey(call.key));
  }

  #unlocked(key: string): Lock {
    return unlocked(key, this.#clock, async () => (await this.start()).store);
  }

  /** Only at the first lock, since hooks may be enabled after the application was initialized. */
  #checkShutdownHooks(store: Store): void {
    if (this.#hooksChecked) return;
    this.#hooksChecked = true;
    if (store.prepare && process.listenerCount('SIGTERM') === 0) this.#logger.noShutdownHooks();
  }
}

function shuttingDown(): LockError {
  return new LockError('The application is shutting down: no lock is taken any more.');
}
