import { describe, expect, it } from '@jest/globals';
import { countBeats, countRuns, type RunRow } from '../../scripts/demo/count-runs.mjs';

/**
 * Makes the row of a run in second `tick`. Its start and end are milliseconds since the
 * beginning of that second. Its write was accepted unless `rest` sets `accepted` to false.
 */
function run(
  tick: number,
  instance: string,
  from: number,
  to: number | null,
  rest: Partial<RunRow> = {},
): RunRow {
  const base = 1_700_000_000_000 + tick * 1000;
  return {
    token: base + from,
    instance,
    started: base + from,
    ended: to === null ? null : base + to,
    accepted: to !== null,
    lost: false,
    ...rest,
  };
}

describe('the figures of the demo', () => {
  it('E1 the demo counts the seconds in which the empty job ran, and those with more than one run', () => {
    const beats = [0, 1_003, 1_004, 2_950, 3_020, 4_001].map((at) => ({ at }));
    expect(countBeats(beats)).toEqual({ seconds: 4, twice: 2 });
    expect(countBeats([])).toEqual({ seconds: 0, twice: 0 });
  });

  it('E1 for runs one after the other, the demo counts the runs and no overlap, gap, take-over or loss', () => {
    const log = [run(0, 'a', 5, 600), run(1, 'b', 2, 610), run(2, 'b', 1, 590)];
    expect(countRuns(log)).toEqual({ ticks: 3, runs: 3, doubles: 0, missed: 0, takeOvers: 0, lost: 0 });
  });

  it('E1 without runs, all figures of the demo are 0', () => {
    expect(countRuns([])).toEqual({ ticks: 0, runs: 0, doubles: 0, missed: 0, takeOvers: 0, lost: 0 });
  });

  it('E1 the figures of the demo do not depend on the order of the rows', () => {
    const log = [run(0, 'a', 5, null), run(3, 'b', 2, 610), run(4, 'c', 1, 590), run(4, 'a', 300, 900)];
    expect(countRuns(log.toReversed())).toEqual(countRuns(log));
  });

  describe('overlapping runs', () => {
    it.each([
      ['two runs that overlap', [run(0, 'a', 0, 600), run(0, 'b', 599, 900)], 1],
      ['a run within another', [run(0, 'a', 0, 900), run(0, 'b', 100, 200)], 1],
      ['two runs of one instance that overlap', [run(0, 'a', 0, 600), run(0, 'a', 100, 900)], 1],
      ['a run that overlaps with the next tick', [run(0, 'a', 0, 1100), run(1, 'b', 0, 600)], 1],
      [
        'three runs that overlap, as three pairs',
        [run(0, 'a', 0, 600), run(0, 'b', 1, 601), run(0, 'c', 2, 602)],
        3,
      ],
      ['two runs far apart in the log', [run(0, 'a', 0, 5000), run(1, 'b', 0, null), run(4, 'c', 0, 600)], 1],
    ])('E1 the demo finds overlaps: %s', (_, log, doubles) => {
      expect(countRuns(log).doubles).toBe(doubles);
    });

    it.each([
      ['one begins when the other ends', [run(0, 'a', 0, 600), run(0, 'b', 600, 900)]],
      ['both are in one second, one after the other', [run(0, 'a', 0, 400), run(0, 'b', 450, 900)]],
      ['the fence refused one', [run(0, 'a', 0, 5000, { accepted: false }), run(4, 'b', 0, 600)]],
      ['one never ended', [run(0, 'a', 0, null), run(0, 'b', 1, 600)]],
    ])('E1 the demo counts no overlap if %s', (_, log) => {
      expect(countRuns(log).doubles).toBe(0);
    });
  });

  it('E1 the demo counts a second without an accepted run as missed', () => {
    const refused = run(4, 'b', 1, 700, { accepted: false });
    expect(
      countRuns([run(0, 'a', 0, 600), run(1, 'a', 0, null), refused, run(5, 'b', 0, 600)]),
    ).toMatchObject({
      ticks: 6,
      runs: 2,
      missed: 4,
    });
  });

  it('E1 the demo counts a take-over if another instance runs after an unfinished run', () => {
    const killed = run(0, 'a', 0, null);
    const frozen = run(4, 'b', 0, 4700, { accepted: false, lost: true });
    const log = [killed, run(3, 'b', 0, 600), frozen, run(7, 'c', 0, 600), run(8, 'b', 900, 1400)];
    expect(countRuns(log)).toMatchObject({ takeOvers: 2, lost: 1, doubles: 0 });
  });

  it('E1 the demo counts no take-over if the same instance takes the lock again', () => {
    expect(countRuns([run(0, 'a', 0, null), run(3, 'a', 0, 600)]).takeOvers).toBe(0);
  });
});
