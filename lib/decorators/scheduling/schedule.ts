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
/**
 * Milliseconds that instances have to begin a tick. After that time, a tick without a run
 * counts as missed.
 */
const TICK_GRACE = 60_000;
const SCHEDULE = Symbol('nestjs-locked: schedule');

/** A locked method that the scheduler calls. */
export interface ScheduledMethod {
  /** The function that the scheduler calls. */
  method: Function;
  /**
   * The key of the method's lock; `undefined` if each call makes its key from its arguments.
   */
  key: string | undefined;
  /** The key under which the ticks of the method are recorded. */
  ticksOf(key: string): string;
}

/**
 * Knows the schedulers of the application, and which locked methods of one lock service they
 * call.
 */
export class Schedule {
  readonly #registries: FollowedRegistry[] = [];
  readonly #orchestrators: SchedulerOrchestrator[] = [];
  readonly #methods: ScheduledMethod[] = [];
  /** For each locked method, the cron job that called it last. */
  readonly #jobs = new WeakMap<Function, CronJob>();

  /** Gives the schedule of a lock module. */
  static of(module: LockInternals & { [SCHEDULE]?: Schedule }): Schedule {
    return (module[SCHEDULE] ??= new Schedule());
  }

  /**
   * Follows the schedulers among the providers of the application.
   *
   * @returns how many schedulers there are
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
   * The firing of a job or timer that made the scheduler call the method; `undefined` in a
   * call by hand. A method with a schedule of its own may be called by the job of another
   * method: that also counts as a call by hand. The firing is only known until something is
   * awaited.
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
   * Returns the firing of a job that fires while it is created. {@link firing} does not know
   * it yet, since the job is added to its registry only afterwards.
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
   * Adds two facts about the methods that take the key to the result of an inspection: their
   * last tick, and how many ticks they have missed since then.
   *
   * @param inspect inspects another key
   * @param now the present time in epoch milliseconds
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

  /**
   * Counts the ticks between `last` and `until` that did not run, to 100 at most; `undefined`
   * when the schedule is not known.
   */
  async #missed(method: Function, last: number, until: number): Promise<number | undefined> {
    const time = this.#cronTimeOf(method);
    if (!time) return undefined;
    if (time.realDate) return last < Number(time.source) && Number(time.source) <= until ? 1 : 0;
    // If an expression has no next tick, `cron` throws; the count is then unknown.
    return ticksBetween(time, zoneOf(time), { from: last, until, most: MOST_MISSED }).catch(() => undefined);
  }

  /**
   * The schedule of the method: that of its registered job, or that in its decorator if the
   * job has no name and has not fired yet.
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
 * The constructor of a `CronTime`. It is taken from a job: `cron` is a dependency of
 * `@nestjs/schedule`, so the application cannot always import it.
 */
type CronTimeClass = new (source: unknown, timeZone?: string | null, utcOffset?: number | null) => CronTime;
