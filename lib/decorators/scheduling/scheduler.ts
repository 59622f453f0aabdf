import { executionAsyncResource } from 'node:async_hooks';
import { hasMethods } from '../../engine/transactions.js';
import { FollowedJob, type CronFiring, type CronJob } from './cron-job.js';

/** The members that this library uses of the `SchedulerRegistry` of `@nestjs/schedule`. */
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

/** An entry of the orchestrator: `ref` is the cron job or the timer of a decorated method. */
interface Entry {
  ref?: unknown;
  options?: unknown;
  timeout?: number;
}

/**
 * The properties of the `SchedulerOrchestrator` of `@nestjs/schedule`, 4 to 12, that this
 * library reads: the jobs and timers of decorated methods, by name.
 */
export interface SchedulerOrchestrator {
  readonly cronJobs?: Record<string, Entry>;
  readonly intervals?: Record<string, Entry>;
  readonly timeouts?: Record<string, Entry>;
}

/**
 * The firing that made the scheduler call a method: of a cron job, an interval or a timeout.
 */
export type Firing =
  | ({ kind: 'cron' } & CronFiring)
  /** `every` is the period of the interval in milliseconds. */
  | { kind: 'interval'; every: number; timer: object }
  | { kind: 'timeout'; timer: object };

/** The options of `@Cron()`, as the metadata of the method has them. */
export interface CronOptions {
  name?: string;
  cronTime: unknown;
  timeZone?: string | null;
  utcOffset?: number | null;
}

export function isSchedulerRegistry(provider: unknown): provider is SchedulerRegistry {
  return hasMethods(provider, 'addCronJob', 'getCronJobs');
}

export function isSchedulerOrchestrator(provider: unknown): provider is SchedulerOrchestrator {
  return hasMethods(provider, 'addCron', 'addInterval', 'addTimeout');
}

/** Whether `@Cron()`, `@Interval()` or `@Timeout()` has marked the method. */
export function isScheduled(method: Function): boolean {
  return Reflect.hasMetadata('SCHEDULER_TYPE', method);
}

/** Which decorator schedules a method; `undefined` if no decorator does. */
export function kindOf(method: Function): Firing['kind'] | undefined {
  if (cronOptionsOf(method)) return 'cron';
  if (Reflect.hasMetadata('SCHEDULE_INTERVAL_OPTIONS', method)) return 'interval';
  return isScheduled(method) ? 'timeout' : undefined;
}

export function cronOptionsOf(method: Function): CronOptions | undefined {
  return Reflect.getMetadata('SCHEDULE_CRON_OPTIONS', method);
}

/**
 * Whether a method with a schedule is called by the job or timer of another method. Such a
 * call counts as a call by hand.
 *
 * @param source the cron job or the timer that has led to the call
 */
export function isOfAnotherMethod(
  orchestrators: readonly SchedulerOrchestrator[],
  source: object,
  method: Function,
): boolean {
  if (!isScheduled(method)) return false;
  const name: unknown = Reflect.getMetadata('SCHEDULER_NAME', method);
  const isOf = ([entryName, { timeout }]: [string, Entry], options: string): boolean =>
    (name === undefined || name === entryName) &&
    timeout === (Reflect.getMetadata(options, method) as { timeout?: number } | undefined)?.timeout;
  for (const { cronJobs, intervals, timeouts } of orchestrators) {
    const job = entryOf(cronJobs, source);
    if (job) return job[1].options !== cronOptionsOf(method);
    const interval = entryOf(intervals, source);
    if (interval) return !isOf(interval, 'SCHEDULE_INTERVAL_OPTIONS');
    const timeout = entryOf(timeouts, source);
    if (timeout) return !isOf(timeout, 'SCHEDULE_TIMEOUT_OPTIONS');
  }
  return false; // the application made the job or timer itself, without a decorator
}

function entryOf(entries: Record<string, Entry> | undefined, source: object): [string, Entry] | undefined {
  return Object.entries(entries ?? {}).find(([, { ref }]) => ref === source);
}

const FOLLOWED = Symbol('nestjs-locked: followed registry');

/**
 * Follows the jobs and timers of one `SchedulerRegistry`, including those that are added
 * later, and knows which of them has led to the current call.
 *
 * The job or timer is known until its callback awaits something. Later calls of the same
 * callback look like calls by hand.
 */
export class FollowedRegistry {
  readonly #jobs = new WeakMap<CronJob, FollowedJob>();
  /** The period of each interval in milliseconds; 0 for a timeout. */
  readonly #timers = new WeakMap<object, number>();
  #firing: Firing | undefined;
  /**
   * The firings of jobs that fired while they were created, in the order in which the jobs
   * were added.
   */
  readonly #firedWhileMade: CronFiring[] = [];
  readonly #toLookAhead: FollowedJob[] = [];

  /**
   * Returns the one object that follows this registry, which all lock modules of the
   * application share.
   */
  static of(registry: SchedulerRegistry & { [FOLLOWED]?: FollowedRegistry }): FollowedRegistry {
    return (registry[FOLLOWED] ??= new FollowedRegistry(registry));
  }

  private constructor(private readonly registry: SchedulerRegistry) {
    for (const job of registry.getCronJobs().values()) this.#follow(job);
    for (const name of registry.getIntervals()) this.#addTimer(registry.getInterval(name), 'interval');
    for (const name of registry.getTimeouts()) this.#addTimer(registry.getTimeout(name), 'timeout');
    onAdd(registry, 'addCronJob', (job: CronJob) => this.#follow(job));
    onAdd(registry, 'addInterval', (timer) => this.#addTimer(timer, 'interval'));
    onAdd(registry, 'addTimeout', (timer) => this.#addTimer(timer, 'timeout'));
  }

  /** The firing of the job or timer that has led to the current call. */
  get firing(): Firing | undefined {
    if (this.#firing) return this.#firing;
    const timer = executionAsyncResource();
    const every = this.#timers.get(timer);
    if (every === undefined) return undefined;
    return every === 0 ? { kind: 'timeout', timer } : { kind: 'interval', every, timer };
  }

  /**
   * Returns the next firing of a job that fired while it was created, because its tick had
   * just passed, and removes it. The firing is known once the job has been added.
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

  /**
   * Computes the next tick of one job in each turn of the event loop, since that may take 10
   * ms.
   */
  #lookAheadLater(): void {
    setImmediate(() => {
      this.#firedWhileMade.length = 0;
      this.#toLookAhead.shift()?.lookAhead();
      if (this.#toLookAhead.length > 0) this.#lookAheadLater();
    }).unref();
  }

  #addTimer(timer: unknown, kind: 'interval' | 'timeout'): void {
    // Fake timers may be numbers, and cannot be followed.
    if (typeof timer !== 'object' || timer === null) return;
    const { _repeat: every } = timer as { _repeat?: unknown };
    if (kind === 'timeout') this.#timers.set(timer, 0);
    else if (typeof every === 'number' && every > 0) this.#timers.set(timer, every);
  }
}

/**
 * Calls `follow` with each job or timer that is added to the registry by the method from now
 * on.
 */
function onAdd<Method extends string, Added>(
  registry: Record<Method, (name: string, added: Added) => void>,
  method: Method,
  follow: (added: Added) => void,
): void {
  const add = registry[method].bind(registry);
  registry[method] = (name, added) => {
    add(name, added);
    follow(added);
  };
}
