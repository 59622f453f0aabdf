import { setImmediate as othersRun } from 'node:timers/promises';

/** The method that computes ticks, of the `CronTime` of the package `cron`, 2 to 4. */
export interface TickSource {
  /** The first tick after the second in which `start` lies. */
  getNextDateFrom(start: Date, timeZone?: string): { toMillis(): number };
}

/** The members of a `CronTime` of the package `cron`, 2 to 4, that this library uses. */
export interface CronTime extends TickSource {
  /** The next tick. */
  sendAt(): { toMillis(): number };
  /** Whether the source is a date, and no expression. */
  readonly realDate: boolean;
  readonly source: unknown;
  readonly timeZone?: string | null;
  /** In minutes. */
  readonly utcOffset?: number | null;
}

/** The members of a `CronJob` of the package `cron`, 2 to 4, that this library uses. */
export interface CronJob {
  cronTime: CronTime;
  start(): unknown;
  fireOnTick(): unknown;
  lastDate(): Date | null | undefined;
}

/** One firing of a cron job. */
export interface CronFiring {
  job: CronJob;
  /** The nominal time that the job was armed for, in epoch milliseconds. */
  tick: number;
  /** Milliseconds until the next tick; 0 after the last one. */
  period: number;
}

/** Milliseconds by which timers may fire early. */
const EARLY = 100;
const SECOND = 1_000;
/**
 * Longer than the longest pause between two ticks: from one 29 February to the next, across a
 * century without a leap year.
 */
const LONGEST = 9 * 366 * 86_400_000;

/**
 * Milliseconds from the first firing of a job, which may come while it is created, until it is
 * added to a registry.
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
   * The tick for which the timer is armed; unknown for a timer that was armed before the job
   * was followed.
   */
  #armedFor: number | undefined;
  /** `lastDate()` of the job, as it was at the last look. */
  #seen: Date | null | undefined;
  readonly #followedSince = Date.now();
  /**
   * The tick of a timer that has fired, until the job has armed the next timer and calls
   * `fireOnTick()`.
   */
  #due: number | undefined;

  /** @param onFiring receives each firing, and calls `fire` */
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
   * Computes the time of a timer that was armed before the job was followed, so that the first
   * firing need not do it. The computation starts at the moment from which the job was
   * followed: on a busy machine the timer may be due already, and not have fired yet.
   */
  lookAhead(): void {
    this.#armedFor ??= nextTick(this.job.cronTime, this.#followedSince);
  }

  /** The firing that happened just before the job was followed, if there was one. */
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
      // The job armed no timer before this call: it has no next time, or it noticed while
      // arming that it is a little late.
      this.#seen = lastDate;
      tick = this.#tickAt(lastDate);
    }
    return tick === undefined ? fire() : this.onFiring(this.#firing(tick), fire);
  }

  #firing(tick: number): CronFiring {
    return { job: this.job, tick, period: Math.max(0, (this.#armedFor ?? tick) - tick) };
  }

  /**
   * The tick of a timer that has fired. It is computed if the timer was armed before the job
   * was followed.
   */
  #tickAt(firedAt: Date): number {
    const now = firedAt.getTime();
    const known = this.#armedFor !== undefined && this.#armedFor <= now + EARLY;
    return known ? Number(this.#armedFor) : lastTick(this.job.cronTime, now);
  }
}

/** The time zone of a schedule, as `cron` writes it for luxon. */
export function zoneOf({ timeZone, utcOffset }: Pick<CronTime, 'timeZone' | 'utcOffset'>): string {
  if (timeZone) return timeZone;
  if (typeof utcOffset !== 'number') return Intl.DateTimeFormat().resolvedOptions().timeZone;
  const digits = (number: number): string => String(number).padStart(2, '0');
  const minutes = Math.abs(utcOffset);
  return `UTC${utcOffset < 0 ? '-' : '+'}${digits(Math.trunc(minutes / 60))}:${digits(minutes % 60)}`;
}

/** Calls `work`, and passes to `read` each next tick that the schedule computes meanwhile. */
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
 * Gives the nominal time of the tick that runs at `now`, the last tick that is not later, in
 * epoch milliseconds; `undefined` without one.
 *
 * A schedule computes only the next tick after a time. So this starts further and further back
 * until it finds a tick before `now`, and then halves the range.
 */
export function nominalTick(schedule: TickSource, timeZone: string, now: number): number | undefined {
  const limit = now + EARLY;
  let before = limit; // a tick lies between this and the limit
  let after = limit; // no tick lies between this and the limit
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
 * Gives the next tick, always later than `from`: where summer time ends by half an hour,
 * `cron` also gives earlier ticks.
 */
function tickAfter(schedule: TickSource, timeZone: string, from: number): number {
  for (let start = from; ; start += 60 * SECOND) {
    const tick = schedule.getNextDateFrom(new Date(start), timeZone).toMillis();
    if (tick > from) return tick;
  }
}
