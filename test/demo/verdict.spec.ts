import { describe, expect, it } from '@jest/globals';
import type { RunRow } from '../../scripts/demo/count-runs.mjs';
import { objections } from '../../scripts/demo/verdict.mjs';

const done = { accepted: true, lost: false };
const log: RunRow[] = [
  { token: 1, instance: 'a', started: 1_000, ended: 1_600, ...done },
  // The instance was killed during this run.
  { token: 2, instance: 'a', started: 2_000, ended: null, accepted: false, lost: false },
  { token: 3, instance: 'b', started: 5_000, ended: 5_600, ...done },
  // The instance was frozen during this run.
  { token: 4, instance: 'b', started: 6_000, ended: 9_700, accepted: false, lost: true },
  { token: 5, instance: 'c', started: 9_000, ended: 9_600, ...done },
];
const hits = { killed: { token: 2, instance: { name: 'a' } }, frozen: { token: 4, instance: { name: 'b' } } };

function judge(
  changes: Partial<RunRow>[],
  end: { edition?: number; lock?: { holder: string } } = {},
  beats = { seconds: 20, twice: 0 },
): string[] {
  const runs = log.map((run) => ({ ...run, ...changes.find(({ token }) => token === run.token) }));
  return objections({ runs, edition: 3, ...end }, hits, beats);
}

describe('the verdict of the demo', () => {
  it('E1 the demo passes if each kill and each freeze had its effect and no runs overlapped', () => {
    expect(judge([])).toEqual([]);
  });

  it.each([
    ['two runs overlapped', [{ token: 3, ended: 9_100 }], /1 pairs of runs overlapped/],
    ['the killed run came to its end', [{ token: 2, ended: 2_600, accepted: true }], /kill -9 did not hit a/],
    ['the late write was accepted', [{ token: 4, accepted: true }], /late write of b was not refused/],
    ['the late write never came', [{ token: 4, ended: null }], /late write of b was not refused/],
    ['the loss was not reported', [{ token: 4, lost: false }], /b was not told/],
    ['no instance took over', [{ token: 3, instance: 'a' }], /1 take-overs/],
    [
      'a run broke off',
      [{ token: 5, ended: null, accepted: false }],
      /1 more runs did not come to their end/,
    ],
  ])('E1 the demo fails if %s', (_, changes, objection) => {
    expect(judge(changes).join()).toMatch(objection);
  });

  it('E1 the demo fails if the empty job ran twice in a second, or in too few seconds', () => {
    expect(judge([], {}, { seconds: 20, twice: 2 }).join()).toMatch(/more than once in 2 seconds/);
    expect(judge([], {}, { seconds: 3, twice: 0 }).join()).toMatch(/in 3 seconds only/);
  });

  it('E1 the demo fails if an update was lost or the lock was left behind', () => {
    expect(judge([], { edition: 2 }).join()).toMatch(/3 runs published, but the report is at edition 2/);
    expect(judge([], { lock: { holder: 'c' } }).join()).toMatch(/c has left the lock behind/);
  });
});
