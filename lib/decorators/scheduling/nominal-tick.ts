import { setImmediate as othersRun } from 'node:timers/promises';

/** The method that computes ticks, of the `CronTime` of the package `cron`, 2 to 4. */
export interface TickSource {
  /** The first tick after the second in which `start` lies. */
  getNextDateFrom(start: Date, timeZone?: string): { toMillis(): number };
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
 * Gives the nominal time of the tick that runs at `now`, the last tick that is not later, in
 * epoch milliseconds; `undefined` if there is none.
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
    tick = nextTick(schedule, timeZone, tick);
    if (tick > until) break;
    await othersRun();
  }
  return count;
}

/**
 * Gives the next tick, always later than `from`: where summer time ends by half an hour, `cron`
 * also gives earlier ticks.
 */
function nextTick(schedule: TickSource, timeZone: string, from: number): number {
  for (let start = from; ; start += 60 * SECOND) {
    const tick = schedule.getNextDateFrom(new Date(start), timeZone).toMillis();
    if (tick > from) return tick;
  }
}
