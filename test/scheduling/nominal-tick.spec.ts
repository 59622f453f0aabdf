import { describe, expect, it } from '@jest/globals';
import { CronTime } from 'cron';
import { nominalTick, ticksBetween } from '../../lib/decorators/scheduling/cron-job.js';

const at = (date: string): number => Date.parse(date);
const shown = (time: number | undefined): string | undefined =>
  time === undefined ? undefined : new Date(time).toISOString();

function nominal(expression: string, zone: string, now: string): string | undefined {
  return shown(nominalTick(new CronTime(expression, zone), zone, at(now)));
}

/** The ticks at which the scheduler fires between `from` and `until`. */
function ticksOf(expression: string, zone: string, from: string, until: string): number[] {
  const schedule = new CronTime(expression, zone);
  const ticks: number[] = [];
  let tick = at(from);
  for (;;) {
    tick = schedule.getNextDateFrom(new Date(tick), zone).toMillis();
    if (tick > at(until)) return ticks;
    ticks.push(tick);
  }
}

describe('the nominal time of a tick', () => {
  it.each([
    ['at the very time', '0 2 * * *', '2026-11-20T02:00:00.000Z', '2026-11-20T02:00:00.000Z'],
    ['late', '0 2 * * *', '2026-11-20T02:00:03.500Z', '2026-11-20T02:00:00.000Z'],
    [
      'by a timer that is a little early',
      '0 2 * * *',
      '2026-11-20T01:59:59.950Z',
      '2026-11-20T02:00:00.000Z',
    ],
    ['just before the next', '0 2 * * *', '2026-11-20T01:59:59.000Z', '2026-11-19T02:00:00.000Z'],
    ['each second', '* * * * * *', '2026-11-20T12:00:00.990Z', '2026-11-20T12:00:01.000Z'],
    ['each second, late', '* * * * * *', '2026-11-20T12:00:00.800Z', '2026-11-20T12:00:00.000Z'],
    ['at uneven times', '0 9,17 * * 1-5', '2026-11-23T08:00:00Z', '2026-11-20T17:00:00.000Z'],
    ['every ten seconds of one month', '*/10 * * * 1 *', '2026-11-20T00:00:00Z', '2026-01-31T23:59:50.000Z'],
    ['on leap days', '0 0 29 2 *', '2027-06-01T00:00:00Z', '2024-02-29T00:00:00.000Z'],
  ])('B76 a firing %s has the nominal time of its tick', (_, expression, now, expected) => {
    expect(nominal(expression, 'UTC', now)).toBe(expected);
  });

  it('B76 the nominal time is computed in the time zone of the method', () => {
    expect(nominal('0 2 * * *', 'Asia/Tokyo', '2026-11-20T12:00:00Z')).toBe('2026-11-19T17:00:00.000Z');
    expect(nominal('0 2 * * *', 'UTC+05:30', '2026-11-20T12:00:00Z')).toBe('2026-11-19T20:30:00.000Z');
  });

  it.each([
    ['begins', 'Europe/Berlin', '2026-03-28T20:00Z', '2026-03-29T06:00Z'],
    ['ends', 'Europe/Berlin', '2026-10-24T20:00Z', '2026-10-25T06:00Z'],
    ['begins', 'America/New_York', '2026-03-08T02:00Z', '2026-03-08T12:00Z'],
    ['ends', 'America/New_York', '2026-11-01T02:00Z', '2026-11-01T12:00Z'],
  ])(
    'B76 when summer time %s in %s, each tick of the scheduler has a nominal time of its own',
    (_, zone, from, until) => {
      for (const expression of [
        '30 2 * * *',
        '*/30 * * * *',
        '0 * * * *',
        '15,45 1-3 * * *',
        '*/7 * * * *',
      ]) {
        const ticks = ticksOf(expression, zone, from, until);
        expect(ticks.length).toBeGreaterThan(0);
        const schedule = new CronTime(expression, zone);
        expect(ticks.map((tick) => shown(nominalTick(schedule, zone, tick)))).toEqual(ticks.map(shown));
        expect(ticks.map((tick) => shown(nominalTick(schedule, zone, tick + 59_000)))).toEqual(
          ticks.map(shown),
        );
      }
    },
  );

  it('B76 a daily job has one tick on each day of a clock change', () => {
    const berlin = (from: string, until: string): (string | undefined)[] =>
      ticksOf('30 2 * * *', 'Europe/Berlin', from, until).map(shown);
    expect(berlin('2026-03-28T12:00Z', '2026-03-29T12:00Z')).toEqual(['2026-03-29T01:00:00.000Z']);
    expect(berlin('2026-10-24T12:00Z', '2026-10-25T12:00Z')).toEqual(['2026-10-25T00:30:00.000Z']);
  });

  it('B76 when clocks go back by half an hour, the nominal time is not in the future', () => {
    const tick = nominal('*/20 * * * *', 'Australia/Lord_Howe', '2026-04-04T15:10:00Z');
    expect(at(tick ?? '')).toBeLessThanOrEqual(at('2026-04-04T15:10:00Z'));
  });

  it('B76 a schedule that never had a tick has no nominal time', () => {
    const never = { getNextDateFrom: () => ({ toMillis: () => Infinity }) };
    expect(nominalTick(never, 'UTC', at('2026-11-20T00:00Z'))).toBeUndefined();
  });

  describe('ticks that went by', () => {
    const schedule = new CronTime('0 * * * *', 'UTC');
    const count = (from: string, until: string, most = 1_000): Promise<number> =>
      ticksBetween(schedule, 'UTC', { from: at(from), until: at(until), most });

    it('B76 the ticks between two times are counted up to a limit', async () => {
      expect(await count('2026-11-20T02:00Z', '2026-11-20T02:59:59Z')).toBe(0);
      expect(await count('2026-11-20T02:00Z', '2026-11-20T03:00Z')).toBe(1);
      expect(await count('2026-11-20T02:00Z', '2026-11-21T02:30Z')).toBe(24);
      expect(await count('2020-01-01T00:00Z', '2026-11-21T02:30Z', 50)).toBe(50);
    });

    it('B76 counting many ticks does not block the event loop', async () => {
      let turns = 0;
      let counting = true;
      const turn = (): void => {
        turns++;
        if (counting) setImmediate(turn);
      };
      setImmediate(turn);
      await count('2020-01-01T00:00Z', '2026-11-21T02:30Z', 50);
      counting = false;
      expect(turns).toBeGreaterThan(25);
    });
  });
});
