import { executionAsyncResource } from 'node:async_hooks';
import { hasMethods } from '../../options/has-methods.js';
import { FollowedJob, type CronFiring, type CronJob } from './cron-job.js';

/** The members used of the `SchedulerRegistry` of `@nestjs/schedule`. */
export interface SchedulerRegistry {
  getCronJobs(): Map<string, CronJob>;
  getIntervals(): string[];
  getInterval(name: string): unknown;
  getTimeouts(): string[];
  getTimeout(name: string): unknown;
  addCronJob(name: string, job: CronJob): void;
  addInterval(name: string, timer: unknown): void;
  addTimeout(name: string, timer: unknown): void;
}

/** The timer that made the scheduler call a method. */
export type Firing =
  | ({ kind: 'cron' } & CronFiring)
  /** `every` is its period in milliseconds. */
  | { kind: 'interval'; every: number; timer: object }
  | { kind: 'timeout'; timer: object };

const FOLLOWED = Symbol('nestjs-locked: followed registry');

/**
 * Follows the jobs and timers of one `SchedulerRegistry`, also those that are added later, and
 * knows which of them has led to the current call.
 *
 * It knows that until the callback of the timer awaits something. Later calls of the same
 * callback look like calls by hand.
 */
export class FollowedRegistry {
  readonly #jobs = new WeakMap<CronJob, FollowedJob>();
  /** The period of each interval in milliseconds; 0 for a timeout. */
  readonly #timers = new WeakMap<object, number>();
  #firing: Firing | undefined;
  /**
   * Firings of jobs that fired while they were created, before they were added, in this order.
   */
  readonly #firedWhileMade: CronFiring[] = [];
  readonly #toLookAhead: FollowedJob[] = [];

  /** Gives the same object for all lock modules of the application. */
  static of(registry: SchedulerRegistry & { [FOLLOWED]?: FollowedRegistry }): FollowedRegistry {
    return (registry[FOLLOWED] ??= new FollowedRegistry(registry));
  }

  private constructor(private readonly registry: SchedulerRegistry) {
    for (const job of registry.getCronJobs().values()) this.#follow(job);
    for (const name of registry.getIntervals()) this.#addTimer(registry.getInterval(name), 'interval');
    for (const name of registry.getTimeouts()) this.#addTimer(registry.getTimeout(name), 'timeout');
    const addCronJob = registry.addCronJob.bind(registry);
    const addInterval = registry.addInterval.bind(registry);
    const addTimeout = registry.addTimeout.bind(registry);
    registry.addCronJob = (name, job) => {
      addCronJob(name, job);
      this.#follow(job);
    };
    registry.addInterval = (name, timer) => {
      addInterval(name, timer);
      this.#addTimer(timer, 'interval');
    };
    registry.addTimeout = (name, timer) => {
      addTimeout(name, timer);
      this.#addTimer(timer, 'timeout');
    };
  }

  /** The job or timer that has led to the current call. */
  get firing(): Firing | undefined {
    if (this.#firing) return this.#firing;
    const timer = executionAsyncResource();
    const every = this.#timers.get(timer);
    if (every === undefined) return undefined;
    return every === 0 ? { kind: 'timeout', timer } : { kind: 'interval', every, timer };
  }

  /**
   * Takes the firing of a job that fired while it was created, because it was a little late.
   * Known once the job has been added.
   */
  takeFiringWhileMade(): Firing | undefined {
    const firing = this.#firedWhileMade.shift();
    return firing && { kind: 'cron', ...firing };
  }

  get cronJobs(): ReadonlyMap<string, CronJob> {
    return this.registry.getCronJobs();
  }

  #follow(job: CronJob): void {
    if (this.#jobs.has(job)) return;
    const followed = new FollowedJob(job, (firing, fire) => {
      this.#firing = { kind: 'cron', ...firing };
      try {
        return fire();
      } finally {
        this.#firing = undefined;
      }
    });
    this.#jobs.set(job, followed);
    const firing = followed.firstFiring();
    if (firing) this.#firedWhileMade.push(firing);
    if (this.#toLookAhead.push(followed) === 1) this.#lookAheadLater();
  }

  /** One job in each turn of the event loop: each may take 10 ms. */
  #lookAheadLater(): void {
    setImmediate(() => {
      this.#firedWhileMade.length = 0;
      this.#toLookAhead.shift()?.lookAhead();
      if (this.#toLookAhead.length > 0) this.#lookAheadLater();
    }).unref();
  }

  #addTimer(timer: unknown, kind: 'interval' | 'timeout'): void {
    if (typeof timer !== 'object' || timer === null) return; // fake timers may be numbers
    const { _repeat: every } = timer as { _repeat?: unknown };
    if (kind === 'timeout') this.#timers.set(timer, 0);
    else if (typeof every === 'number' && every > 0) this.#timers.set(timer, every);
  }
}

/** Whether a provider is a registry of `@nestjs/schedule`. */
export function isSchedulerRegistry(provider: unknown): provider is SchedulerRegistry {
  return hasMethods(provider, 'addCronJob', 'getCronJobs');
}
