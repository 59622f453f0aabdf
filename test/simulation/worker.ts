import { LockError } from '../../lib/lock.errors.js';
import type { AcquireOptions, RenewalOptions } from '../../lib/options/lock.options.js';
import type { Lock } from '../../lib/lock.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { SimulatedTransaction } from './simulated-transaction.js';
import type { Hold, Witness } from './witness.js';
import type { World } from './world.js';

/** An error that the work of the application throws, and not the library. */
class WorkFailed extends Error {}

/**
 * Takes locks in a process, works under them and releases them, until the process ends or
 * begins its shutdown.
 */
export class Worker {
  /** The abort signals that this worker has passed to the library. */
  readonly signals: AbortSignal[] = [];
  ended = false;

  constructor(
    private readonly world: World,
    private readonly witness: Witness,
    readonly process: SimulatedProcess,
  ) {}

  async workUntil(end: number): Promise<void> {
    const { process, world } = this;
    try {
      while (world.timeline.now < end && !process.ended) {
        await process.sleep(world.random.below(world.schedule.idle));
        if (process.ended) break;
        this.#administer();
        await this.#takeLock();
      }
    } catch (error) {
      world.violate(`unexpected: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
    this.ended = true;
  }

  /** Begins forced releases and purges at random, without waiting until they have ended. */
  #administer(): void {
    const { process, world } = this;
    const { random, schedule, story } = world;
    const begin = (what: string, operation: Promise<unknown>): void => {
      story?.tell(process.name, `begins to ${what}`);
      operation.catch((error: unknown) => {
        if (error instanceof LockError) story?.tell(process.name, `did not ${what}: ${error.message}`);
        else world.violate(`unexpected: ${String(error)}`);
      });
    };
    if (random.percent(schedule.forceReleases)) {
      const key = random.oneOf(schedule.keys);
      begin(`free ${key} by force`, process.service.admin.forceRelease(key, { reason: 'it is simulated' }));
    }
    if (random.percent(schedule.purges)) {
      const olderThan = random.oneOf([0, 1000, 5000]);
      begin(`purge what is unused for ${olderThan} ms`, process.service.admin.purge({ olderThan }));
    }
  }

  async #takeLock(): Promise<void> {
    const { process, world } = this;
    const { random, schedule, story } = world;
    const abort = new AbortController();
    this.signals.push(abort.signal);
    const key = random.oneOf(schedule.keys);
    const ttl = random.oneOf(schedule.ttls);
    const wait = random.oneOf([0, 0, 500, 3000, Infinity]);
    const retry = random.oneOf([{ min: 20, max: 500 }, 400, 1500]);
    const renewal = random.oneOf(['usual', 'usual', 'rare', 'none'] as const);
    const options: AcquireOptions = {
      ttl,
      wait,
      retry,
      minHold: random.oneOf([0, 0, 0, 200]),
      signal: abort.signal,
      ...renewalOptions(renewal, ttl),
    };
    const operation = random.oneOf(['tryAcquire', 'acquire', 'run', 'tryRun'] as const);
    const waiting = wait > 0 ? `, wait ${wait}` : '';
    story?.tell(
      process.name,
      `${operation} ${key}, ttl ${ttl}${waiting}${renewal === 'usual' ? '' : `, renewal: ${renewal}`}`,
    );
    if (random.percent(wait === Infinity ? 70 : 10))
      world.timeline.in(random.below(4000), () => process.receive(() => abort.abort(abort.signal)));

    const calledAt = process.now;
    const granted = (lock: Lock): Hold => this.witness.granted(lock, process, calledAt);
    this.#perhapsPause();
    try {
      if (operation === 'run' || operation === 'tryRun')
        await process.service[operation](key, (lock) => this.#workUnder(granted(lock)), options);
      else {
        const lock = await process.service[operation](key, options);
        if (lock) await this.#workAndRelease(granted(lock));
      }
    } catch (error) {
      const known = error instanceof LockError || error instanceof WorkFailed || error === abort.signal;
      if (!known) throw error;
      story?.tell(
        process.name,
        `${operation} ${key} ends: ${error instanceof Error ? error.message : 'aborted'}`,
      );
    }
  }

  /** The body of `run()`, which releases the lock after the body. */
  async #workUnder(hold: Hold): Promise<void> {
    try {
      await this.#work(hold);
      if (this.world.random.percent(10)) throw new WorkFailed('the work failed');
    } finally {
      this.witness.givingBack(hold);
      this.witness.forget(hold);
    }
  }

  async #workAndRelease(hold: Hold): Promise<void> {
    await this.#work(hold);
    this.witness.givingBack(hold);
    this.world.story?.tell(
      this.process.name,
      `releases ${hold.lock.key}${hold.lock.held ? '' : ', no longer held'}`,
    );
    try {
      this.witness.gaveBack(hold, await hold.lock.release());
    } catch (error) {
      if (!(error instanceof LockError)) throw error;
      this.witness.gaveBack(hold, error);
    }
  }

  async #work(hold: Hold): Promise<void> {
    const { process, world } = this;
    const { random, schedule } = world;
    for (let work = random.below(schedule.steps); work > 0; work--) {
      this.#perhapsPause();
      await process.sleep(random.below(schedule.work));
      if (!hold.lock.held && random.percent(70)) return;
      if (random.percent(schedule.transactions)) await this.#transact(hold.lock);
      if (!random.percent(schedule.extensions)) continue;
      const extension = this.#extend(hold);
      this.#perhapsPause();
      // In 80 percent of the cases, the worker awaits the extension; in the others, it goes on
      // working meanwhile.
      if (random.percent(80)) await extension;
    }
  }

  async #transact(lock: Lock): Promise<void> {
    const { process, world } = this;
    world.story?.tell(process.name, `begins a transaction under ${lock.key}`);
    try {
      await lock.transaction(async (transaction: SimulatedTransaction) => {
        transaction.writtenUnder.add(lock);
        await process.sleep(world.random.below(world.schedule.work));
        this.#perhapsPause();
      });
      world.story?.tell(process.name, `has committed under ${lock.key}`);
    } catch (error) {
      if (!(error instanceof LockError)) throw error;
      world.story?.tell(process.name, `did not commit under ${lock.key}: ${error.message}`);
    }
  }

  async #extend(hold: Hold): Promise<void> {
    const { process, world } = this;
    const ttl = world.random.oneOf([undefined, 200, 900, 2000, 10_000, 10_000]);
    // A lock with ttl: Infinity is never extended to a finite ttl, since it could end early
    // and be freed. A late acquisition without an end would then stay in the store for good.
    if (hold.lock.expiresAt === null) return;
    world.story?.tell(process.name, `extends ${hold.lock.key}${ttl === undefined ? '' : ` to ${ttl}`}`);
    if (ttl !== undefined) this.witness.extending(hold, ttl);
    try {
      await hold.lock.extend(ttl);
    } catch (error) {
      if (!(error instanceof LockError)) throw error;
      world.story?.tell(process.name, `did not extend ${hold.lock.key}: ${error.message}`);
    }
  }

  /**
   * Sometimes pauses the process shortly after a request was sent, since a pause does most
   * harm then.
   */
  #perhapsPause(): void {
    const { random, schedule } = this.world;
    if (!schedule.worldFaults.includes('pause') || this.world.calm || !random.percent(15)) return;
    const ms = random.below(schedule.pause);
    this.world.count('pause');
    this.world.story?.tell(this.process.name, `is paused for ${ms} ms`);
    this.world.timeline.in(random.below(5), () => this.process.pause(ms));
  }
}

function renewalOptions(renewal: 'usual' | 'rare' | 'none', ttl: number): RenewalOptions {
  if (renewal === 'none') return { autoRenew: false };
  return renewal === 'rare' && ttl !== Infinity ? { renewEvery: ttl * 0.6 } : {};
}
