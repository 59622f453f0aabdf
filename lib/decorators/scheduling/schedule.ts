import type { LockInternals } from '../../lock-internals.js';
import type { LockInspection } from '../../interfaces/lock-record.interface.js';
import { ticksBetween, zoneOf, type CronJob, type CronTime } from './cron-job.js';
import {
  cronOptionsOf,
  FollowedRegistry,
  isOfAnotherMethod,
  type Firing,
  isSchedulerOrchestrator,
  isSchedulerRegistry,
  type SchedulerOrchestrator,
} from './scheduler.js';

const MOST_MISSED = 100;
/** Milliseconds after a tick in which instances begin it. Later, it counts as missed. */
const TICK_GRACE = 60_000;
const SCHEDULE = Symbol('nestjs-locked: schedule');

/** A locked method that the scheduler calls. */
export interface ScheduledMethod {
  /** The function that the scheduler calls. */
  method: Function;
  /** The key of its lock; `undefined` if it is made from the arguments of each call. */
  key: string | undefined;
  /** The key under which its ticks are recorded. */
  ticksOf(key: string): string;
}

/**
 * Knows the schedulers of the application, and the locked methods of one lock service that
 * they call.
 */
export class Schedule {
  readonly #registries: FollowedRegistry[] = [];
  readonly #orchestrators: SchedulerOrchestrator[] = [];
  readonly #methods: ScheduledMethod[] = [];
  /** The job that called a method last. */
  readonly #jobs = new WeakMap<Function, CronJob>();

  /** Gives the schedule of a lock module. */
  static of(module: LockInternals & { [SCHEDULE]?: Schedule }): Schedule {
    return (module[SCHEDULE] ??= new Schedule());
  }

  /**
   * Follows the schedulers among the providers of the application.
   *
   * @returns how many there are
   */
  follow(providers: Iterable<unknown>): number {
    for (const provider of new Set(providers)) {
      if (isSchedulerRegistry(provider)) this.#registries.push(FollowedRegistry.of(provider));
      if (isSchedulerOrchestrator(provider)) this.#orchestrators.push(provider);
    }
    return this.#registries.length;
  }

  add(method: ScheduledMethod): void {
    this.#methods.push(method);
  }

  /**
   * The firing that has led to the current call; `undefined` in a call by hand. If the job of
   * another method calls a method that has a schedule, that is a call by hand, too. Read it
   * before anything is awaited.
   */
  firing(method: Function): Firing | undefined {
    for (const { firing } of this.#registries) {
      if (!firing) continue;
      const source = firing.kind === 'cron' ? firing.job : firing.timer;
      if (isOfAnotherMethod(this.#orchestrators, source, method)) return undefined;
      if (firing.kind === 'cron') this.#jobs.set(method, firing.job);
      return firing;
    }
    return undefined;
  }

  /**
   * Like {@link firing}, for a job that fires while it is created: the job is added to its
   * registry only afterwards.
   */
  async firingWhileMade(): Promise<Firing | undefined> {
    if (this.#registries.length === 0) return undefined;
    await Promise.resolve();
    for (const registry of this.#registries) {
      const firing = registry.takeFiringWhileMade();
      if (firing) return firing;
    }
    return undefined;
  }

  /**
   * Adds to an inspection the last tick of the methods that take the key, and the number of
   * ticks that they have missed since.
   *
   * @param inspect looks at another key
   * @param now in epoch milliseconds
   */
  async addTicks(
    found: LockInspection,
    inspect: (key: string) => Promise<LockInspection>,
    now: number,
  ): Promise<LockInspection> {
    const { key } = found;
    let { lastTick } = found;
    let missed: number | undefined;
    for (const scheduled of this.#methods) {
      if (scheduled.key !== undefined && scheduled.key !== key) continue;
      const ticksKey = scheduled.ticksOf(key);
      const last = ticksKey === key ? found.lastTick : (await inspect(ticksKey)).lastTick;
      if (!last) continue;
      if (!lastTick || lastTick < last) lastTick = last;
      const count = await this.#missed(scheduled.method, last.getTime(), now - TICK_GRACE);
      if (count !== undefined) missed = (missed ?? 0) + count;
    }
    return { ...found, ...(lastTick && { lastTick }), ...(missed !== undefined && { missed }) };
  }

  /** Counts ticks after `last`, to 100 at most. `undefined` when the schedule is not known. */
  async #missed(method: Function, last: number, until: number): Promise<number | undefined> {
    const time = this.#cronTimeOf(method);
    if (!time) return undefined;
    if (time.realDate) return last < Number(time.source) && Number(time.source) <= until ? 1 : 0;
    // `cron` throws for an expression without a next tick.
    return ticksBetween(time, zoneOf(time), { from: last, until, most: MOST_MISSED }).catch(() => undefined);
  }

  /**
   * The schedule of the registered job; for a job without a name that has not fired yet, the
   * schedule of the decorator.
   */
  #cronTimeOf(method: Function): CronTime | undefined {
    const options = cronOptionsOf(method);
    if (!options) return undefined;
    const { name, cronTime, timeZone, utcOffset } = options;
    const jobs = this.#registries.flatMap(({ cronJobs }) => [...cronJobs]);
    if (name) return jobs.find(([other]) => other === name)?.[1].cronTime;
    const known = this.#jobs.get(method);
    if (known) return known.cronTime;
    const CronTimeClass = jobs[0]?.[1].cronTime.constructor as CronTimeClass | undefined;
    return CronTimeClass && new CronTimeClass(cronTime, timeZone, utcOffset);
  }
}

/**
 * The class is taken from a job: `cron` is a dependency of `@nestjs/schedule`, and cannot
 * always be imported.
 */
type CronTimeClass = new (source: unknown, timeZone?: string | null, utcOffset?: number | null) => CronTime;
