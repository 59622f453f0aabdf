import { setImmediate as othersRun } from 'node:timers/promises';

/**
 * The method of the class `CronTime` that computes ticks. `CronTime` is from the package
 * `cron`, 2 to 4.
 */
export interface TickSource {
  /** Returns the first tick that lies in a later second than `start`. */
  getNextDateFrom(start: Date, timeZone?: string): { toMillis(): number };
}

/**
 * The members that this library uses of the class `CronTime` from the package `cron`, 2 to 4.
 */
export interface CronTime extends TickSource {
  /** The next tick. */
  sendAt(): { toMillis(): number };
  /** Whether the schedule is a single date instead of a cron expression. */
  readonly realDate: boolean;
  readonly source: unknown;
  readonly timeZone?: string | null;
  /** The offset of the schedule's time zone from UTC, in minutes. */
  readonly utcOffset?: number | null;
}

/**
 * The members that this library uses of the class `CronJob` from the package `cron`, 2 to 4.
 */
export interface CronJob {
  cronTime: CronTime;
  start(): unknown;
  fireOnTick(): unknown;
  lastDate(): Date | null | undefined;
}

/** One firing of a cron job. */
export interface CronFiring {
  job: CronJob;
  /**
   * The time for which the job had set its timer, in epoch milliseconds. The timer may be
   * late.
   */
  tick: number;
  /** Milliseconds from this tick to the next tick; 0 after the last tick. */
  period: number;
}

/**
 * Milliseconds by which a timer may fire before its time. Such a firing counts for the tick
 * after it.
 */
const EARLY = 100;
const SECOND = 1_000;
/**
 * Milliseconds to search back for a tick. It is longer than the longest pause of a schedule,
 * such as from 29 February 2096 to 29 February 2104: the year 2100 is no leap year.
 */
const LONGEST = 9 * 366 * 86_400_000;

/**
 * Milliseconds within which a first firing belongs to the job's creation: a job may fire while
 * it is created, before it is added to a registry and followed.
 */
const JUST_NOW = 1_000;

/**
 * Follows a cron job: notes the time for which the job arms each timer, and distinguishes a
 * firing by the timer from a call of `fireOnTick()` by hand.
 *
 * A job computes its next time when it arms its timer, which may take 10 ms. This class reads
 * that value, so it does not compute it again. When a timer fires, the job notes the date,
 * arms the next timer, and then calls `fireOnTick()`. Only methods of this job are replaced,
 * and not those of its class.
 */
export class FollowedJob {
  /**
   * The tick for which the timer of the job is set; unknown if the timer was set before this
   * object followed the job.
   */
  #armedFor: number | undefined;
  /**
   * The last value of the job's `lastDate()` that was read. If it changes, a timer has fired.
   */
  #seen: Date | null | undefined;
  readonly #followedSince = Date.now();
  /**
   * The tick of a timer that has just fired. It is kept while the job sets its next timer,
   * until the job calls `fireOnTick()`.
   */
  #due: number | undefined;

  /**
   * @param onFiring receives each firing of the timer, and calls `fire` to run the job's work
   */
  constructor(
    private readonly job: CronJob,
    private readonly onFiring: (firing: CronFiring, fire: () => unknown) => unknown,
  ) {
    const start = job.start.bind(job);
    const fire = job.fireOnTick.bind(job);
    this.#seen = job.lastDate();
    job.start = () => this.#arm(start);
    job.fireOnTick = () => this.#fire(fire);
  }

  /**
   * Computes the tick of a timer that was set before this object followed the job, so that the
   * first firing need not compute it. The search begins at the time since which the job has
   * been followed, and not now: on a busy machine the timer may be due already and not have
   * fired yet.
   */
  lookAhead(): void {
    this.#armedFor ??= nextTick(this.job.cronTime, this.#followedSince);
  }

  /** The firing that came just before this object followed the job, if there was one. */
  firstFiring(): CronFiring | undefined {
    const firedAt = this.#seen?.getTime();
    if (firedAt === undefined || Date.now() - firedAt > JUST_NOW) return undefined;
    this.lookAhead();
    return this.#firing(lastTick(this.job.cronTime, firedAt));
  }

  #arm(start: () => unknown): unknown {
    const { job } = this;
    const lastDate = job.lastDate();
    const fired = lastDate && lastDate !== this.#seen ? this.#tickAt(lastDate) : undefined;
    this.#seen = lastDate;
    try {
      return readingSendAt(job.cronTime, (tick) => (this.#armedFor = tick), start);
    } finally {
      this.#due = fired;
    }
  }

  #fire(fire: () => unknown): unknown {
    const lastDate = this.job.lastDate();
    let tick = this.#due;
    this.#due = undefined;
    if (lastDate && lastDate !== this.#seen) {
      // The job set no new timer before this call: it has no next tick, or it noticed while
      // setting the timer that the tick has just passed.
      this.#seen = lastDate;
      tick = this.#tickAt(lastDate);
    }
    return tick === undefined ? fire() : this.onFiring(this.#firing(tick), fire);
  }

  #firing(tick: number): CronFiring {
    return { job: this.job, tick, period: Math.max(0, (this.#armedFor ?? tick) - tick) };
  }

  /**
   * Returns the tick of a timer that has fired. The tick is computed if the timer was set
   * before this object followed the job.
   */
  #tickAt(firedAt: Date): number {
    const now = firedAt.getTime();
    const known = this.#armedFor !== undefined && this.#armedFor <= now + EARLY;
    return known ? Number(this.#armedFor) : lastTick(this.job.cronTime, now);
  }
}

/**
 * The time zone of a schedule, in the form that the package `cron` passes to the package
 * luxon.
 */
export function zoneOf({ timeZone, utcOffset }: Pick<CronTime, 'timeZone' | 'utcOffset'>): string {
  if (timeZone) return timeZone;
  if (typeof utcOffset !== 'number') return Intl.DateTimeFormat().resolvedOptions().timeZone;
  const digits = (number: number): string => String(number).padStart(2, '0');
  const minutes = Math.abs(utcOffset);
  return `UTC${utcOffset < 0 ? '-' : '+'}${digits(Math.trunc(minutes / 60))}:${digits(minutes % 60)}`;
}

/**
 * Calls `work`, and passes to `read` each next tick that the schedule computes during the
 * call.
 */
function readingSendAt(cronTime: CronTime, read: (tick: number) => void, work: () => unknown): unknown {
  const own = Object.getOwnPropertyDescriptor(cronTime, 'sendAt');
  const sendAt = cronTime.sendAt.bind(cronTime);
  cronTime.sendAt = (...given: []) => {
    const next = sendAt(...given);
    read(next.toMillis());
    return next;
  };
  try {
    return work();
  } finally {
    if (own) Object.defineProperty(cronTime, 'sendAt', own);
    else Reflect.deleteProperty(cronTime, 'sendAt');
  }
}

function nextTick(cronTime: CronTime, from: number): number {
  if (cronTime.realDate) return Number(cronTime.source);
  return cronTime.getNextDateFrom(new Date(from), zoneOf(cronTime)).toMillis();
}

function lastTick(cronTime: CronTime, now: number): number {
  if (cronTime.realDate) return Number(cronTime.source);
  return nominalTick(cronTime, zoneOf(cronTime), now) ?? now;
}

/**
 * Returns the nominal time of the last tick that is not later than `now`, in epoch
 * milliseconds; `undefined` if there is no such tick.
 *
 * A schedule computes only the next tick after a time. So the search starts further and
 * further back until it finds a tick before `now`, and then halves the range.
 */
export function nominalTick(schedule: TickSource, timeZone: string, now: number): number | undefined {
  const limit = now + EARLY;
  let before = limit; // at least one tick lies between `before` and the limit
  let after = limit; // no tick lies between `after` and the limit
  for (let back = SECOND; ; back *= 2) {
    before = limit - back;
    if (tickAfter(schedule, timeZone, before) <= limit) break;
    if (back > LONGEST) return undefined;
    after = before;
  }
  while (after - before > SECOND) {
    const middle = (before + after) / 2;
    if (tickAfter(schedule, timeZone, middle) <= limit) before = middle;
    else after = middle;
  }
  for (let tick = before; ;) {
    const next = tickAfter(schedule, timeZone, tick);
    if (next > limit) return tick;
    tick = next;
  }
}

/**
 * Counts the ticks after the tick `from` and until `until`, up to `most`. Each tick takes a
 * millisecond or more, so other work runs in between.
 */
export async function ticksBetween(
  schedule: TickSource,
  timeZone: string,
  { from, until, most }: { from: number; until: number; most: number },
): Promise<number> {
  let count = 0;
  for (let tick = from; count < most; count++) {
    tick = tickAfter(schedule, timeZone, tick);
    if (tick > until) break;
    await othersRun();
  }
  return count;
}

/**
 * Returns the next tick, which is always later than `from`. `cron` alone may return an earlier
 * tick at the end of a summer time of half an hour.
 */
function tickAfter(schedule: TickSource, timeZone: string, from: number): number {
  for (let start = from; ; start += 60 * SECOND) {
    const tick = schedule.getNextDateFrom(new Date(start), timeZone).toMillis();
    if (tick > from) return tick;
  }
}
