import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, type Clock, type Timer } from './engine/clock.js';
import type { Duration } from './options/duration.js';
import type { LockInspection, LockPage } from './interfaces/lock-record.interface.js';
import { readHandOff, type LockHandOff } from './options/hand-off.js';
import type {
  LockInspector,
  LockPauser,
  LockStore,
  OnceKeeper,
  SessionBound,
  StoreClock,
  StoreDescription,
  StoreLifecycle,
  StoreWarnings,
  TickKeeper,
} from './interfaces/lock-store.interface.js';
import { compareClocks } from './engine/compare-clocks.js';
import { KnownKeys } from './engine/known-keys.js';
import { LockAdministration } from './administration/lock-admin.js';
import { readCall, type LockCall, type TryRunResult } from './options/lock-call.js';
import { LockContext } from './lock-context.js';
import { assertKey, assertOwner } from './options/lock-key.js';
import { LockError, LockNotAcquiredError } from './lock.errors.js';
import { LockEventPublisher, type LockEvents } from './lock.events.js';
import { LockLogger } from './engine/lock.logger.js';
import type { AcquireOptions, LockModuleDefaults, RunOptions } from './options/lock.options.js';
import {
  ACQUIRE_OPTIONS,
  RUN_OPTIONS,
  readSettings,
  type LockSettings,
  type ReadableOptions,
} from './options/lock.settings.js';
import type { Lock } from './lock.js';
import { readModuleSettings, type ModuleSettings } from './options/module.settings.js';
import { openLocks, type OpenLocks } from './engine/open-locks.js';
import { OuterTransactions } from './engine/outer-transactions.js';
import { PurgeSchedule } from './administration/purge-schedule.js';
import { runBody } from './engine/run-body.js';
import { RunningWork } from './engine/running-work.js';
import { Schedule } from './decorators/scheduling/schedule.js';
import { keepsTicks, runScheduled } from './decorators/scheduling/scheduled-run.js';
import { Sections } from './engine/section.js';
import { StatusFile } from './administration/status-file.js';
import { assertCapable } from './engine/store-capabilities.js';
import { unlocked } from './engine/unlocked.js';
import { WaitQueue } from './engine/wait-queue.js';
import { RESTORE_OPTIONS } from './options/lock.settings.js';
import type { RestoreOptions } from './options/lock.options.js';
import { DEFAULTS } from './options/defaults.js';
import { assertKnownOptions } from './options/known-options.js';

type Store = LockStore &
  Partial<
    LockInspector &
      LockPauser &
      OnceKeeper &
      SessionBound &
      StoreClock &
      StoreLifecycle &
      StoreDescription &
      StoreWarnings &
      TickKeeper
  >;
type Opened = OpenLocks<Store>;

/** Milliseconds in which some instance takes a tick up, if any does. */
const TICK_GRACE = 60_000;
/**
 * Milliseconds. A local token that is further ahead of the clock follows a token of the store,
 * whose clock is ahead too.
 */
const TOKENS_AHEAD = 1_000;

/** What the module hands to the service it makes. */
export interface LockServiceSetup {
  options: LockModuleDefaults;
  /** Makes the store; called once, on start or when locking is enabled. */
  openStore: () => Store | Promise<Store>;
  /** The module's name. Default `default`. */
  name?: string;
  clock?: Clock;
  /**
   * The services of all lock modules of the application. A warning that concerns the whole
   * process is given once.
   */
  siblings?: () => readonly LockService[];
}

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
  readonly #keys = new KnownKeys();
  readonly #settings: ModuleSettings;
  /** Those of the module and of decorators, which the store has to be able to keep. */
  readonly #standing: LockSettings[];
  readonly #work: RunningWork;
  readonly #administration: LockAdministration;
  readonly #openStore: LockServiceSetup['openStore'];
  readonly #statusFile: StatusFile | undefined;
  readonly #purges: PurgeSchedule | undefined;
  /** @internal The scheduler of the application, and the methods that it calls. */
  readonly schedule = new Schedule();
  /** What runs under locks of this service. */
  readonly #sections = new Sections();
  readonly #transactions = new OuterTransactions((error) => this.#logger.transactionsUnknown(error));
  #open: Opened | undefined;
  #opening: Promise<Opened> | undefined;
  #enabled: boolean;
  /** What enable() or disable() asked for last. */
  #wanted = true;
  #stopping = false;
  #hooksChecked = false;
  #hooksMissed = false;
  readonly #siblings: () => readonly LockService[];

  /** @internal */
  constructor({ options, openStore, name = 'default', clock = systemClock(), siblings }: LockServiceSetup) {
    this.#siblings = siblings ?? (() => [this]);
    const where = name === 'default' ? 'LockModule' : `LockModule "${name}"`;
    this.#settings = readModuleSettings(where, options);
    this.#standing = [this.#settings.defaults];
    this.#enabled = this.#settings.enabled;
    this.#openStore = openStore;
    this.#clock = clock;
    this.#queue = new WaitQueue(clock, this.#settings.maxWaiters);
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
    const { statusFile, purge } = this.#settings;
    const { events } = this.#publisher;
    if (statusFile)
      this.#statusFile = new StatusFile(
        statusFile,
        () => (this.#open?.keeper.size ?? 0) > 0,
        events,
        (error) => this.#logger.statusFileFailed(statusFile, error),
      );
    if (purge)
      this.#purges = new PurgeSchedule(purge, this, clock, (error) => this.#logger.purgeFailed(error));
  }

  /** What happens to the locks of this service: `acquired`, `busy`, `released`, `lost`, `renewFailed`, `storeError`, `handedOff`, `restored`. */
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
   * @throws LockError for a `wait` inside a run that holds the key already: the wait would not
   * end
   */
  async acquire(key: string, options?: AcquireOptions): Promise<Lock> {
    const result = await this.#contend(this.#read('acquire()', ACQUIRE_OPTIONS, key, options));
    if (result instanceof LockNotAcquiredError) throw result;
    return result;
  }

  /** Takes the lock like {@link acquire}, and resolves to `null` when it is busy. */
  async tryAcquire(key: string, options?: AcquireOptions): Promise<Lock | null> {
    const result = await this.#contend(this.#read('tryAcquire()', ACQUIRE_OPTIONS, key, options));
    return result instanceof LockNotAcquiredError ? null : result;
  }

  /**
   * Runs `body` under the lock and releases it. The error of the body is the one that surfaces; a release that fails is only logged.
   *
   * @throws LockNotAcquiredError when the lock is busy: the body did not run
   * @throws LockLostError when the lock was lost while the body ran to its end, unless `rejectOnLoss` is `false`
   * @throws LockStoreError when the store fails: the body did not run
   * @throws LockError for a `wait` inside a run that holds the key already, unless it is
   * `reentrant`
   */
  async run<T>(key: string, body: (lock: Lock) => T | Promise<T>, options?: RunOptions): Promise<T> {
    const result = await this.#tryRun(this.#read('run()', RUN_OPTIONS, key, options), body);
    if (!result.acquired) throw result.error;
    return result.value;
  }

  /** Runs `body` under the lock like {@link run}, and tells when the lock was busy instead of throwing. */
  async tryRun<T>(
    key: string,
    body: (lock: Lock) => T | Promise<T>,
    options?: RunOptions,
  ): Promise<TryRunResult<T>> {
    return this.#tryRun(this.#read('tryRun()', RUN_OPTIONS, key, options), body);
  }

  /**
   * Takes up a lock that another process has handed on with `Lock.handOff`: the store renews it first, and until that is answered nobody believes in it.
   *
   * @throws LockLostError when it has run out, or was taken away
   * @throws LockStoreError when the store fails
   */
  async restore(data: LockHandOff, options: RestoreOptions = {}): Promise<Lock> {
    const { key, owner, fencingToken, ttl } = readHandOff(data);
    assertKnownOptions('restore()', options, RESTORE_OPTIONS);
    const settings = readSettings(`restore() of "${key}"`, { ...options, ttl }, this.#settings.defaults);
    if (!this.#enabled) {
      this.#keys.granted(key, fencingToken);
      return this.#unlocked(key);
    }
    if (this.#stopping) throw shuttingDown();
    const { store, keeper } = await this.start();
    const { renewEvery } = settings;
    assertCapable(store, settings);
    return keeper.restore(
      { key, storeKey: this.#storeKey(key), ttl, renewEvery },
      { owner, fencingToken },
      settings,
    );
  }

  /**
   * Gives back a lock by its owner id, which is as much as its handle: for callers that cannot keep one.
   *
   * @returns `false` if it was lost, expired or released before
   * @throws LockStoreError when the store fails: the lock then ends with its ttl
   */
  async release(key: string, owner: string): Promise<boolean> {
    assertKey(key);
    if (!this.#enabled) return true;
    assertOwner(owner);
    return (await this.start()).keeper.releaseOwned(this.#storeKey(key), owner);
  }

  /** Whether the key is held, expired or free, by whom, and how it last ended. */
  async inspect(key: string): Promise<LockInspection> {
    const look = (one: string): Promise<LockInspection> => this.#administration.inspect(one);
    return this.schedule.withTicks(await look(key), look, this.date() - TICK_GRACE);
  }

  /** Whether somebody holds the key. */
  async isLocked(key: string): Promise<boolean> {
    return this.#administration.isLocked(key);
  }

  /**
   * The locks that are held now, with this module's prefix, ordered by key.
   *
   * @param page `limit` is 1 to 1000, default 100; `after` is the `next` of the page before
   */
  async list(page: { limit?: number | undefined; after?: string | undefined } = {}): Promise<LockPage> {
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

  /**
   * Pauses a key for all instances of the application: nobody gets it until it is resumed, also after a restart. Who holds it goes on, renews and
   * releases. A paused key is refused at once, also to those who would wait; scheduled methods are skipped.
   *
   * @returns `false` when it was paused before
   */
  async pause(key: string): Promise<boolean> {
    return this.#administration.pause(key);
  }

  /** Ends {@link pause}. @returns `false` when it was not paused */
  async resume(key: string): Promise<boolean> {
    return this.#administration.resume(key);
  }

  /**
   * Runs everything unlocked from here on, in this process. Locks that are held stay held.
   * Fencing tokens go on growing, by this machine's clock, see `Lock.fencingToken`.
   */
  disable(): void {
    this.#wanted = false;
    if (this.#enabled) this.#logger.disabled();
    this.#enabled = false;
  }

  /**
   * Takes locks from here on, in this process, and opens the store if it is not open. Warns if
   * the clocks of this machine and of the database differ by more than a second: fenced writes
   * may be refused for that long.
   *
   * @throws LockStoreError when the store cannot be opened: locking stays disabled
   */
  async enable(): Promise<void> {
    if (this.#stopping) throw shuttingDown();
    this.#wanted = true;
    const opened = this.#open !== undefined;
    const { store } = await this.start();
    if (!this.#wanted || this.#enabled) return; // disabled again meanwhile, or enabled already
    if (opened) await compareClocks(store, this.#clock, this.#logger); // otherwise the start has done that
    await this.#passLocalTokens();
    if (!this.#wanted || this.#enabled) return;
    this.#logger.enabled();
    this.#enabled = true;
  }

  /**
   * Waits until the clock has passed the tokens that were made while locking was disabled: the
   * store's have to be greater.
   */
  async #passLocalTokens(): Promise<void> {
    const ahead = this.#keys.lastLocalToken / 1_000 - this.#clock.date();
    if (ahead < 0 || ahead > TOKENS_AHEAD) return;
    await sleep(Math.floor(ahead) + 1); // not on `#clock`, which stands still in tests
  }

  /** @internal Opens the store, once. */
  async start(): Promise<Opened> {
    this.#opening ??= this.#openAll();
    return this.#opening;
  }

  /** @internal By the clock of this machine, in epoch milliseconds. */
  date(): number {
    return this.#clock.date();
  }

  /**
   * @internal Finds the providers that know whether a transaction is open, to warn of locks
   * inside of it.
   */
  lookForTransactions(providers: Iterable<unknown>): void {
    this.#transactions.find(providers);
  }

  /** @internal Reads a decorator's options, so that they are refused at start and not at the first call. */
  settingsFor(where: string, options: ReadableOptions): LockSettings {
    const settings = readSettings(where, options, this.#settings.defaults);
    if (!this.#open) this.#standing.push(settings);
    return settings;
  }

  /** @internal `tryRun` for the decorator and the interceptor, whose options have been read. */
  async runJob<T>(call: LockCall, body: (lock: Lock) => T | Promise<T>): Promise<TryRunResult<T>> {
    if (!call.once) return this.#tryRun(call, body);
    const { store, keeper } = await this.start();
    return runScheduled(call, body, {
      store,
      clock: this.#clock,
      publisher: this.#publisher,
      tryRun: (one, work) => this.#tryRun(one, work),
      storeKey: (key) => this.#storeKey(key),
      free: (storeKey, owner) => keeper.free(storeKey, owner),
    });
  }

  /** @internal Calls `body` as if nothing stood in between, but for the handle that it finds in its `LockContext`. */
  runUnlocked<T>(key: () => string, body: () => T): T {
    return LockContext.run(() => this.#unlocked(key()), body);
  }

  /** @internal Has a stream that a handler returned given up when nobody uses it within one ttl; `giveUp` tells whether that was so. */
  whenUnused({ key, settings }: LockCall, giveUp: () => boolean): Timer {
    const warn = (): void => this.#logger.unusedStream(key);
    return this.#clock.after(Math.min(settings.ttl, DEFAULTS.ttl), () => giveUp() && warn(), false);
  }

  /** @internal Whether methods under `@Locked()` need a key of their own. */
  get requireKeys(): boolean {
    return this.#settings.requireKeys;
  }

  /** @internal Warns of default keys with class names that a minifier may have changed. */
  warnOfMinifiedNames(keys: string[], ticks: string[]): void {
    if (keys.length > 0) this.#logger.minifiedKeys(keys);
    if (ticks.length > 0) this.#logger.minifiedTicks(ticks);
  }

  /** @internal Warns when no scheduler calls the methods, or more than one. */
  checkScheduler(methods: string[], schedulers: number): void {
    if (methods.length === 0 || !this.#enabled) return;
    if (schedulers === 0) this.#logger.noScheduler(methods);
    if (schedulers > 1) this.#logger.severalSchedulers(schedulers);
  }

  /** @internal The line logged at start. */
  announce(jobs: string[]): void {
    if (!this.#enabled) this.#logger.disabled();
    else this.#logger.started(jobs, this.#open?.store.describe?.());
  }

  /** @internal Whether the store keeps ticks; `false` while it is not open. */
  get keepsTicks(): boolean {
    return this.#open !== undefined && keepsTicks(this.#open.store);
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
    await this.#statusFile?.settled();
    await opened?.store.close?.();
  }

  #stop(): void {
    this.#stopping = true;
    this.#queue.close(shuttingDown());
    this.#purges?.stop();
  }

  #storeKey(key: string): string {
    return this.#settings.prefix + key;
  }

  #read(
    method: string,
    known: readonly string[],
    key: string,
    options?: AcquireOptions | RunOptions,
  ): LockCall {
    return readCall({ method, known }, key, options, this.#settings.defaults);
  }

  async #openAll(): Promise<Opened> {
    try {
      this.#open = await openLocks(() => this.#makeStore(), {
        clock: this.#clock,
        queue: this.#queue,
        keys: this.#keys,
        publisher: this.#publisher,
        logger: this.#logger,
        changed: () => this.#statusFile?.changed(),
      });
      this.#purges?.start(this.#open.store.keepsOnce === true);
      return this.#open;
    } catch (error) {
      this.#opening = undefined; // enable() may try again
      throw error;
    }
  }

  async #makeStore(): Promise<Store> {
    const store = await this.#openStore();
    for (const settings of this.#standing) {
      assertCapable(store, settings);
      store.expectTtl?.(settings.ttl);
    }
    return store;
  }

  async #tryRun<T>(call: LockCall, body: (lock: Lock) => T | Promise<T>): Promise<TryRunResult<T>> {
    if (typeof body !== 'function')
      throw new LockError(`run("${call.key}") needs the work as its second argument: a function.`);
    let section = call.settings.reentrant ? this.#sections.around(call.key) : undefined;
    if (!section) {
      const lock = await this.#contend(call);
      if (lock instanceof LockNotAcquiredError) return { acquired: false, error: lock };
      section = this.#sections.begin(lock);
    }
    this.#work.begin();
    try {
      return { acquired: true, value: await runBody(section, body, call.settings) };
    } finally {
      this.#work.end();
    }
  }

  #contend(call: LockCall): Promise<Lock | LockNotAcquiredError> {
    if (!this.#enabled) return Promise.resolve(this.#unlocked(call.key));
    if (!this.#open) return this.start().then(() => this.#contend(call));
    if (this.#transactions.open) this.#logger.insideTransaction(call.key, call.job);
    const { store, contender } = this.#open;
    assertCapable(store, call.settings);
    this.#checkShutdownHooks(store);
    const nested = this.#sections.around(call.key) !== undefined;
    const contending = contender.contend(nested ? { ...call, nested } : call, this.#storeKey(call.key));
    return this.#statusFile && call.settings.wait > 0 ? this.#statusFile.during(contending) : contending;
  }

  #unlocked(key: string): Lock {
    const token = this.#keys.makeLocalToken(key, this.#clock.date());
    return unlocked(key, token, this.#clock, async () => (await this.start()).store);
  }

  /** Only at the first lock, since hooks may be enabled after the application was initialized. */
  #checkShutdownHooks(store: Store): void {
    if (this.#hooksChecked) return;
    this.#hooksChecked = true;
    if (!store.prepare || process.listenerCount('SIGTERM') > 0) return;
    if (this.#siblings().some((service) => service.#hooksMissed)) return;
    this.#hooksMissed = true;
    this.#logger.noShutdownHooks();
  }
}

function shuttingDown(): LockError {
  return new LockError('The application is shutting down: no lock is taken any more.');
}
