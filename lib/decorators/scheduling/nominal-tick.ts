import { setImmediate as othersRun } from 'node:timers/promises';

/** The method that computes ticks, of the `CronTime` of the package `cron`, 2 to 4. */
export interface TickSource {
  /** The first tick after the second in which `start` lies. */
  getNextDateFrom(start: Date, timeZone?: string): { toMillis(): number };
}

/** Milliseconds by which timers may fire early. */
const EARLY = 100;
const SECOND = 1_000;
/** Over the longest way between two ticks: from one 29 February to the next, over a century without a leap year. */
const LONGEST = 9 * 366 * 86_400_000;

/**
 * The nominal time of the tick that runs at `now`: of all ticks the last that is not later, in epoch milliseconds; `undefined` when there is none.
 *
 * A schedule only tells what comes next. So this looks from further and further back until it finds a tick that has been, then halves the way from
 * there.
 */
export function nominalTick(schedule: TickSource, timeZone: string, now: number): number | undefined {
  const limit = now + EARLY;
  let before = limit; // from here a tick comes until the limit
  let after = limit; // from here none does
  for (let back = SECOND; ; back *= 2) {
    before = limit - back;
    if (nextTick(schedule, timeZone, before) <= limit) break;
    if (back > LONGEST) return undefined;
    after = before;
  }
  while (after - before > SECOND) {
    const middle = (before + after) / 2;
    if (nextTick(schedule, timeZone, middle) <= limit) before = middle;
    else after = middle;
  }
  let tick = before;
  for (
    let next = nextTick(schedule, timeZone, before);
    next <= limit;
    next = nextTick(schedule, timeZone, tick)
  )
    tick = next;
  return tick;
}

/** How many ticks there are after the tick `from` and until `until`; counts to `most` only. Each takes a millisecond or more: others run in between. */
export async function ticksBetween(
  schedule: TickSource,
  timeZone: string,
  { from, until, most }: { from: number; until: number; most: number },
): Promise<number> {
  let count = 0;
  for (let tick = from; count < most; count++) {
    tick = nextTick(schedule, timeZone, tick);
    if (tick > until) break;
    await othersRun();
  }
  return count;
}

/** Always later than `from`: where summer time ends by half an hour, `cron` names ticks that have been. */
function nextTick(schedule: TickSource, timeZone: string, from: number): number {
  for (let start = from; ; start += 60 * SECOND) {
    const tick = schedule.getNextDateFrom(new Date(start), timeZone).toMillis();
    if (tick > from) return tick;
  }
}
