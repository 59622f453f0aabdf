import { nominalTick } from './nominal-tick.js';

/** What is used of the `CronTime` of the package `cron`, 2 to 4. */
export interface CronTime {
  /** The first tick after the second in which `start` lies. */
  getNextDateFrom(start: Date, timeZone?: string): { toMillis(): number };
  /** The next tick. */
  sendAt(): { toMillis(): number };
  /** Whether it is a date, and no expression. */
  readonly realDate: boolean;
  readonly source: unknown;
  readonly timeZone?: string | null;
  /** In minutes. */
  readonly utcOffset?: number | null;
}

/** What is used of the `CronJob` of the package `cron`, 2 to 4. */
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
  /** Milliseconds until the next tick; 0 when there is none. */
  period: number;
}

/** Milliseconds by which timers may fire early. */
const EARLY = 100;
/** Milliseconds that a job may take from its first firing, while it is made, until it is added to a registry. */
const JUST_NOW = 1_000;

/**
 * Follows a cron job: notes the time that each of its timers is armed for, and tells a firing by its timer from a call of `fireOnTick()` by hand.
 *
 * A job computes its next time when it arms its timer, which may take 10 ms. That value is read here, so it costs nothing to know. When a timer fires, the
 * job notes the date, arms the next timer, and then calls `fireOnTick()`. Only methods of this one object are replaced, as `SchedulerRegistry` does it.
 */
export class FollowedJob {
  /** The tick that the timer is armed for; unknown for the timer that was armed before the job was followed. */
  #armedFor: number | undefined;
  #seen: Date | null | undefined;
  /** The tick of a timer that has fired, while the job arms the next one before it calls `fireOnTick()`. */
  #due: number | undefined;

  /** @param onFiring runs `fire`, for which the firing is given */
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

  /** Finds the time of the timer that was armed before, so that the first firing need not. */
  lookAhead(): void {
    this.#armedFor ??= nextTick(this.job.cronTime);
  }

  /** The firing that the job made before it was followed, if that has just been. */
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
      // It has armed no timer before: it has no next time, or has found, while arming one, that it is a little late.
      this.#seen = lastDate;
      tick = this.#tickAt(lastDate);
    }
    return tick === undefined ? fire() : this.onFiring(this.#firing(tick), fire);
  }

  #firing(tick: number): CronFiring {
    return { job: this.job, tick, period: Math.max(0, (this.#armedFor ?? tick) - tick) };
  }

  /** Of a timer that was armed before the job was followed, the time may not be known: then it is worked out, once. */
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

/** Calls `work`, and hands on what the schedule computes meanwhile. */
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

function nextTick(cronTime: CronTime): number {
  return cronTime.realDate ? Number(cronTime.source) : cronTime.sendAt().toMillis();
}

function lastTick(cronTime: CronTime, now: number): number {
  if (cronTime.realDate) return Number(cronTime.source);
  return nominalTick(cronTime, zoneOf(cronTime), now) ?? now;
}
