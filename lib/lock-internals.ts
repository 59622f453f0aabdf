import { LockAdmin, type LockAdminOptions } from './administration/lock-admin.js';
import { PurgeSchedule } from './administration/purge-schedule.js';
import { StatusFile } from './administration/status-file.js';
import { Acquisition } from './engine/acquisition.js';
import { systemClock, type Clock, type Timer } from './engine/clock.js';
import { assertCapable, compareClocks, openEngine, unlocked, type Engine } from './engine/engine.js';
import { InFlight } from './engine/in-flight.js';
import { KnownKeys } from './engine/known-keys.js';
import { LockLogger } from './engine/lock.logger.js';
import { ShutdownHooks } from './engine/shutdown-hooks.js';
import { OuterTransactions } from './engine/transactions.js';
import { WaitQueues } from './engine/wait-queue.js';
import type { AnyLockStore } from './interfaces/lock-store.interface.js';
import { LockContext } from './lock-context.js';
import { LockError, LockNotAcquiredError } from './lock.errors.js';
import { LockEventPublisher } from './lock.events.js';
import type { Lock } from './lock.js';
import type { LockCall, TryRunResult } from './options/lock-call.js';
import { DEFAULTS } from './options/defaults.js';
import type { LockModuleDefaults } from './options/lock.options.js';
import { readSettings, type LockSettings, type ReadableOptions } from './options/lock.settings.js';
import { readModuleSettings, type ModuleSettings } from './options/module.settings.js';

/** The property of a `LockService` that holds its `LockInternals`. */
export const INTERNALS: unique symbol = Symbol.for('nestjs-locked: internals');

/** The parameters of a `LockService`. */
export interface LockServiceOptions {
  options: LockModuleDefaults;
  /** Makes the store. It is called at start, or when locking is enabled later. */
  openStore: () => AnyLockStore | Promise<AnyLockStore>;
  /** The module's name. Default `default`. */
  name?: string;
  clock?: Clock;
  /**
   * Returns all lock modules of the application. With it, a warning about the whole process is
   * logged by one module only.
   */
  siblings?: () => readonly LockInternals[];
}

/**
 * The parts of one lock module that `LockService`, `LockAdmin`, the decorators and the
 * handlers share: its settings, its store, and the engine that takes and keeps locks in it.
 */
export class LockInternals {
  readonly settings: ModuleSettings;
  readonly clock: Clock;
  readonly logger: LockLogger;
  readonly publisher: LockEventPublisher;
  readonly queues: WaitQueues;
  readonly admin: LockAdmin;
  /**
   * Adds the ticks of scheduled methods to the result of an inspection. The decorators set
   * this function at start.
   */
  addTicks: LockAdminOptions['addTicks'] = (found) => Promise.resolve(found);
  readonly keys = new KnownKeys();
  /**
   * Finds out whether a transaction of the call chain is open. A warning is logged for a lock
   * that is taken inside a transaction.
   */
  readonly transactions = new OuterTransactions((error) => this.logger.warn('transactionsUnknown', error));
  readonly shutdownHooks: ShutdownHooks;
  enabled: boolean;
  stopping = false;
  readonly #options: LockServiceOptions;
  /**
   * The settings of the module and of its decorators. When the store opens, it has to support
   * all of them.
   */
  readonly #standing: LockSettings[];
  /** Counts the runs of work under locks, which a shutdown awaits. */
  readonly #work: InFlight;
  readonly #statusFile: StatusFile | undefined;
  readonly #purges: PurgeSchedule | undefined;
  #open: Engine | undefined;
  #opening: Promise<Engine> | undefined;
  /** Whether `enable()` was called after the last `disable()`. */
  #wanted = true;

  constructor(options: LockServiceOptions) {
    this.#options = options;
    const { name = 'default', clock = systemClock() } = options;
    const where = name === 'default' ? 'LockModule' : `LockModule "${name}"`;
    this.settings = readModuleSettings(where, options.options);
    this.clock = clock;
    this.enabled = this.settings.enabled;
    this.#standing = [this.settings.defaults];
    this.queues = new WaitQueues(clock, this.settings.maxWaiters);
    this.#work = new InFlight(clock);
    this.logger = new LockLogger(name, clock);
    this.publisher = new LockEventPublisher(name, (event, error) =>
      this.logger.warn('listenerFailed', event, error),
    );
    this.logger.listen(this.publisher.events);
    this.shutdownHooks = new ShutdownHooks(this.logger, () =>
      options.siblings?.().map(({ shutdownHooks }) => shutdownHooks),
    );
    const { statusFile, purge } = this.settings;
    if (statusFile)
      this.#statusFile = new StatusFile(
        statusFile,
        () => (this.#open?.keeper.size ?? 0) > 0,
        this.publisher.events,
        (error) => this.logger.warn('statusFileFailed', statusFile, error),
      );
    this.admin = new LockAdmin({
      store: async () => (await this.start()).store,
      prefix: this.settings.prefix,
      logger: this.logger,
      released: (storeKey) => this.queues.wake(storeKey),
      addTicks: (found, inspect) => this.addTicks(found, inspect),
    });
    if (purge) this.#purges = new PurgeSchedule(purge, this);
  }

  /** Opens the store at the first call, and returns the same engine at later calls. */
  start(): Promise<Engine> {
    this.#opening ??= this.#openAll();
    return this.#opening;
  }

  /**
   * Begins the shutdown: the module takes no more locks, all waits end, and work under locks
   * gets `shutdownTimeout` to end.
   */
  async drain(): Promise<void> {
    this.#stop();
    await this.#work.settled(this.settings.shutdownTimeout);
  }

  /** Releases what is still held, and closes the store. */
  async close(): Promise<void> {
    this.#stop();
    const opened = await this.#opening?.catch(() => undefined);
    await opened?.keeper.releaseAll('the application shut down while it was held.');
    await this.#statusFile?.settled();
    await opened?.store.close?.();
  }

  disable(): void {
    this.#wanted = false;
    if (this.enabled) this.logger.disabled();
    this.enabled = false;
  }

  async enable(): Promise<void> {
    if (this.stopping) throw shuttingDown();
    this.#wanted = true;
    const opened = this.#open !== undefined;
    const { store } = await this.start();
    // Another call has disabled locking again meanwhile, or has enabled it already.
    if (!this.#wanted || this.enabled) return;
    // When a store is opened, its clock is compared with this machine's clock. Only a store
    // that was open before has to be compared here.
    if (opened) await compareClocks(store, this.clock, this.logger);
    await this.keys.passLocalTokens(this.clock);
    if (!this.#wanted || this.enabled) return;
    this.logger.warn('enabled');
    this.enabled = true;
  }

  /** The key with the module's prefix, as the store knows it. */
  storeKey(key: string): string {
    return this.settings.prefix + key;
  }

  /**
   * Reads the options of a decorator. This happens at start, so that a mistake does not show
   * only at the first call.
   */
  settingsFor(where: string, options: ReadableOptions): LockSettings {
    const settings = readSettings(where, options, this.settings.defaults);
    if (!this.#open) this.#standing.push(settings);
    return settings;
  }

  /**
   * Acquires the lock, and waits for a busy lock as long as the settings say. If the lock is
   * still busy, it resolves to an error.
   */
  acquire(call: LockCall): Promise<Lock | LockNotAcquiredError> {
    if (!this.enabled) return Promise.resolve(this.standIn(call.key));
    if (!this.#open) return this.start().then(() => this.acquire(call));
    if (this.transactions.open) this.logger.insideTransaction(call.key, call.job);
    const { store } = this.#open;
    assertCapable(store, call.settings);
    this.shutdownHooks.check(store);
    const nested = this.#lockAround(call.key) !== undefined;
    const wanted = nested ? { ...call, nested } : call;
    const acquiring = new Acquisition(wanted, this.storeKey(call.key), this.#open).acquire();
    return this.#statusFile && call.settings.wait > 0 ? this.#statusFile.during(acquiring) : acquiring;
  }

  /**
   * Runs `body` under the lock. A call may re-enter a run that its call chain is in, and share
   * its lock. The last call to end releases the lock, whether its body succeeds or fails.
   */
  async tryRun<T>(call: LockCall, body: (lock: Lock) => T | Promise<T>): Promise<TryRunResult<T>> {
    const { key, settings } = call;
    if (typeof body !== 'function')
      throw new LockError(`run("${key}") needs the work as its second argument: a function.`);
    const lock = (settings.reentrant && this.#lockAround(key)) || (await this.acquire(call));
    if (lock instanceof LockNotAcquiredError) return { acquired: false, error: lock };
    this.#work.begin();
    lock.enter();
    try {
      let value: T;
      try {
        lock.assertHeld(); // a shutdown may have released the lock since it was acquired
        value = await LockContext.run(lock, () => body(lock));
      } catch (error) {
        await lock.leave('failed');
        throw error;
      }
      await lock.leave('done');
      if (lock.loss && settings.rejectOnLoss) throw lock.loss;
      return { acquired: true, value };
    } finally {
      this.#work.end();
    }
  }

  /** Calls `body` directly, with a stand-in for the lock in its `LockContext`. */
  runUnlocked<T>(key: () => string, body: () => T): T {
    return LockContext.run(() => this.standIn(key()), body);
  }

  /** Makes the handle that stands in for a lock while locking is disabled. */
  standIn(key: string): Lock {
    const token = this.keys.makeLocalToken(key, this.clock.date());
    return unlocked(key, token, this.clock, async () => (await this.start()).store);
  }

  /**
   * Gives up a stream that a handler returned, if nothing has read it after one ttl (30 s at
   * most).
   *
   * @param giveUp returns whether nothing had read the stream; then a warning is logged
   */
  whenUnused({ key, settings }: LockCall, giveUp: () => boolean): Timer {
    const warn = (): void => this.logger.warn('unusedStream', key);
    return this.clock.after(Math.min(settings.ttl, DEFAULTS.ttl), () => giveUp() && warn(), false);
  }

  /** Logs the line at start, which names the decorated methods and the store. */
  announce(jobs: string[]): void {
    if (!this.enabled) this.logger.disabled();
    else this.logger.started(jobs, this.#open?.store.describe?.());
  }

  /** Whether the store keeps ticks; `false` while the store is not open. */
  get keepsTicks(): boolean {
    const store = this.#open?.store;
    return store?.keepsOnce === true || store?.keepsTicks === true;
  }

  /**
   * The lock of this key under which the call chain runs, if another call may join that run.
   */
  #lockAround(key: string): Lock | undefined {
    return this.#open && LockContext.around(key, this.#open.keeper);
  }

  #stop(): void {
    this.stopping = true;
    this.queues.close(shuttingDown());
    this.#purges?.stop();
  }

  async #openAll(): Promise<Engine> {
    try {
      this.#open = await openEngine(() => this.#makeStore(), {
        clock: this.clock,
        queues: this.queues,
        keys: this.keys,
        publisher: this.publisher,
        logger: this.logger,
        heldChanged: () => this.#statusFile?.changed(),
      });
      this.#purges?.start(this.#open.store.keepsOnce === true);
      return this.#open;
    } catch (error) {
      this.#opening = undefined; // so that enable() can try to open the store again
      throw error;
    }
  }

  async #makeStore(): Promise<AnyLockStore> {
    const store = await this.#options.openStore();
    for (const settings of this.#standing) {
      assertCapable(store, settings);
      store.expectTtl?.(settings.ttl);
    }
    return store;
  }
}

/** Makes the error of a call that wants a lock during the shutdown. */
export function shuttingDown(): LockError {
  return new LockError('The application is shutting down: it takes no more locks.');
}
