import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { CronJob, CronTime } from 'cron';
import { once, EventEmitter } from 'node:events';
import { FollowedJob, zoneOf, type CronFiring } from '../../lib/decorators/scheduling/cron-job.js';

const SECOND = 1_000;
const EACH_SECOND = '* * * * * *';

const jobs: CronJob[] = [];
afterEach(() => {
  jest.restoreAllMocks();
  for (const job of jobs.splice(0)) void job.stop();
});

/**
 * Creates a job and records its firings. `computed` returns how often the next date of its
 * schedule was computed.
 */
function followed(expression: string | Date, { start = true } = {}) {
  const news = new EventEmitter();
  const firings: CronFiring[] = [];
  const job = CronJob.from({ cronTime: expression, onTick: () => void news.emit('called'), start });
  jobs.push(job);
  const follow = new FollowedJob(job, (firing, fire) => {
    firings.push(firing);
    return fire();
  });
  const computed = countComputations(job.cronTime);
  return { job, follow, firings, called: () => once(news, 'called'), computed };
}

function countComputations(time: CronTime): () => number {
  let count = 0;
  const compute = time.getNextDateFrom.bind(time);
  time.getNextDateFrom = (...given) => {
    count++;
    return compute(...given);
  };
  return () => count;
}

describe('a firing of a cron job', () => {
  it('B81 a firing has the time for which its timer was set, and the period until the next tick', async () => {
    const { firings, called } = followed(EACH_SECOND);
    for (let i = 0; i < 3; i++) await called();
    const ticks = firings.map(({ tick }) => tick);
    expect(ticks.map((tick) => tick % SECOND)).toEqual([0, 0, 0]);
    expect(ticks.map((tick) => tick - Number(ticks[0]))).toEqual([0, SECOND, 2 * SECOND]);
    expect(firings.map(({ period }) => period)).toEqual([SECOND, SECOND, SECOND]);
  });

  it('B81 a job that is followed computes its schedule no more often than before', async () => {
    const { follow, called, computed } = followed(EACH_SECOND);
    follow.lookAhead();
    await called();
    const before = computed();
    for (let i = 0; i < 2; i++) await called();
    expect(computed() - before).toBe(2);
  });

  it('B81 after setTime(), a firing has the time of the new schedule', async () => {
    const { job, firings, called } = followed('0 0 1 1 *');
    job.setTime(new CronTime(EACH_SECOND));
    await called();
    expect(Math.abs(Number(firings[0]?.tick) - Date.now())).toBeLessThan(SECOND);
  });

  it('B81 the firing of a job for a single date has that date as its time, and no period', async () => {
    const date = new Date(Date.now() + 50);
    const { firings, called } = followed(date);
    await called();
    expect(firings).toEqual([expect.objectContaining({ tick: date.getTime(), period: 0 })]);
  });

  it('B81 a firing has the right time even if its timer was set before the job was followed', async () => {
    const { firings, called } = followed(EACH_SECOND);
    await called();
    expect(firings[0]?.tick).toBe(Math.round(Date.now() / SECOND) * SECOND);
  });

  it('B81 the first firing has its nominal time even if it is nearly a period late', async () => {
    const start = Math.ceil(Date.now() / SECOND) * SECOND;
    const now = jest.spyOn(Date, 'now').mockReturnValue(start - 900);
    const { job, follow, firings } = followed(EACH_SECOND);
    now.mockReturnValue(start + 800); // The event loop was blocked until after the tick.
    follow.lookAhead();
    now.mockReturnValue(start + 950);
    // Does what the timer of the job does when it fires, 950 ms after the tick.
    clearTimeout((job as unknown as { _timeout: NodeJS.Timeout })['_timeout']);
    Object.assign(job, { lastExecution: new Date(start + 950), _isActive: false });
    job.start();
    await job.fireOnTick();
    expect(firings.map(({ tick }) => tick)).toEqual([start]);
  });

  it('B81 a late firing has its nominal time', async () => {
    const { firings, called } = followed(EACH_SECOND);
    await called();
    const tick = Number(firings[0]?.tick);
    const fired = called();
    const until = tick + 1.6 * SECOND;
    while (Date.now() < until); // Blocks the event loop until after the tick.
    await fired;
    expect(firings[1]?.tick).toBe(tick + SECOND);
  });
});

describe('a call of fireOnTick() by hand', () => {
  it('B81 a call of fireOnTick() by hand does not count as a firing, whether the job is started or not', async () => {
    const running = followed('0 0 1 1 *');
    const stopped = followed('0 0 1 1 *', { start: false });
    for (const { job, called, firings } of [running, stopped]) {
      const fired = called();
      await job.fireOnTick();
      await fired;
      expect(firings).toEqual([]);
    }
  });

  it('B81 a call of fireOnTick() by hand does not count as a firing after the timer has fired', async () => {
    const { job, firings, called } = followed(EACH_SECOND);
    await called();
    await job.fireOnTick();
    await job.fireOnTick();
    expect(firings.length).toBe(1);
    await called();
    expect(firings.length).toBe(2);
  });
});

describe('the time zone of a schedule', () => {
  it.each([
    [{ timeZone: 'Asia/Tokyo' }, 'Asia/Tokyo'],
    [{ utcOffset: 330 }, 'UTC+05:30'],
    [{ utcOffset: -210 }, 'UTC-03:30'],
    [{}, Intl.DateTimeFormat().resolvedOptions().timeZone],
  ])('B81 the time zone of %j is %s', (schedule, zone) => {
    expect(zoneOf(schedule)).toBe(zone);
  });
});
