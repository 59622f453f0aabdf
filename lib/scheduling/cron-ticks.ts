import type { DiscoveryService } from '@nestjs/core';
import { LockError } from '../lock.errors.js';
import { nominalTick, ticksBetween, type CronTime } from './nominal-tick.js';

/** What `@Cron()` of `@nestjs/schedule` keeps on a method. */
const SCHEDULE_CRON_OPTIONS = 'SCHEDULE_CRON_OPTIONS';

interface CronOptions {
  cronTime: string | Date | { toMillis(): number };
  timeZone?: string | null;
  utcOffset?: number | null;
}

interface CronRegistry {
  getCronJobs(): Map<string, { cronTime: { constructor: unknown } }>;
}

type CronTimeClass = new (source: string, timeZone?: string | null, utcOffset?: number | null) => CronTime;

interface Schedule {
  time: CronTime;
  timeZone: string;
}

const MOST_MISSED = 100;

/** Whether the scheduler calls the method at the times of a cron expression. */
export function isCron(method: Function): boolean {
  return Reflect.hasMetadata(SCHEDULE_CRON_OPTIONS, method);
}

/** Finds the nominal times of the methods under `@Cron()`, with what the scheduler of the application itself counts them. */
export class CronTicks {
  readonly #schedules = new Map<Function, Schedule | number>();

  constructor(private readonly discovery: DiscoveryService) {}

  /**
   * The nominal time of the tick that runs at `now`, in epoch milliseconds.
   *
   * @param where the method, for messages
   * @throws LockError when the application has no scheduler, or the schedule no tick before `now`
   */
  current(method: Function, where: string, now: number): number {
    const schedule = this.#scheduleOf(method, where);
    if (typeof schedule === 'number') return schedule;
    const tick = nominalTick(schedule.time, schedule.timeZone, now);
    if (tick !== undefined) return tick;
    throw new LockError(`${where} has the option once: 'tick', but no tick of its @Cron() has been yet.`);
  }

  /** How many ticks have gone by from the tick `last` until `now`; counts to 100 only. */
  async missed(method: Function, where: string, last: number, now: number): Promise<number> {
    const schedule = this.#scheduleOf(method, where);
    if (typeof schedule === 'number') return last < schedule && schedule <= now ? 1 : 0;
    const range = { from: last, until: now, most: MOST_MISSED };
    return ticksBetween(schedule.time, schedule.timeZone, range);
  }

  #scheduleOf(method: Function, where: string): Schedule | number {
    const known = this.#schedules.get(method);
    if (known !== undefined) return known;
    const made = this.#read(method, where);
    this.#schedules.set(method, made);
    return made;
  }

  #read(method: Function, where: string): Schedule | number {
    const { cronTime, timeZone, utcOffset } = Reflect.getMetadata(
      SCHEDULE_CRON_OPTIONS,
      method,
    ) as CronOptions;
    if (cronTime instanceof Date) return cronTime.getTime();
    if (typeof cronTime !== 'string') return cronTime.toMillis(); // a DateTime
    return {
      time: new (this.#cronTimeClass(where))(cronTime, timeZone, utcOffset),
      timeZone: timeZone ?? (typeof utcOffset === 'number' ? zoneOf(utcOffset) : systemZone()),
    };
  }

  /** `cron` belongs to `@nestjs/schedule` and may not be there to be imported: its jobs have the class. */
  #cronTimeClass(where: string): CronTimeClass {
    for (const { instance } of this.discovery.getProviders()) {
      if (!isRegistry(instance)) continue;
      for (const { cronTime } of instance.getCronJobs().values())
        return cronTime.constructor as CronTimeClass;
    }
    throw new LockError(
      `${where} has the option once: 'tick', but the application has no cron job that runs. Import ScheduleModule.forRoot(), and call the method after the application has started.`,
    );
  }
}

function isRegistry(instance: unknown): instance is CronRegistry {
  return typeof (instance as Partial<CronRegistry> | null | undefined)?.getCronJobs === 'function';
}

function systemZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** As `cron` writes it for luxon. */
function zoneOf(utcOffset: number): string {
  const digits = (number: number): string => String(number).padStart(2, '0');
  const minutes = Math.abs(utcOffset);
  return `UTC${utcOffset < 0 ? '-' : '+'}${digits(Math.trunc(minutes / 60))}:${digits(minutes % 60)}`;
}
