import { describe, expect, it } from '@jest/globals';
import {
  brokenFence,
  lateTakeOvers,
  lateWrites,
  overlaps,
  takeOvers,
  tokensThatDoNotGrow,
  wrongAnswers,
  type Hold,
  type LogEntry,
  type Write,
} from './checks.mjs';

const hold = (worker: string, token: number, from: number, until: number, key = 'a'): Hold => ({
  id: `${worker}-${token}`,
  worker,
  key,
  token,
  grantedAt: from,
  from,
  until,
});
const checksOf = (found: { check: string }[]) => found.map(({ check }) => check);

describe('the beliefs of workers', () => {
  it('a check of torture accepts holders of a key one after the other, and holders of other keys', () => {
    const holds = [hold('w1', 1, 0, 100), hold('w2', 2, 100, 300), hold('w3', 1, 50, 250, 'b')];
    expect([...overlaps(holds), ...tokensThatDoNotGrow(holds)]).toEqual([]);
  });

  it('a check of torture finds two holders of one key at once', () => {
    const holds = [hold('w2', 2, 99, 300), hold('w1', 1, 0, 100)];
    expect(overlaps(holds)).toEqual([
      { check: 'overlap', at: 99, text: 'w1-1 (token 1) and w2-2 (token 2) both held "a" for 1.0 ms' },
    ]);
  });

  it('a check of torture finds an overlap of two holds even if a short third hold begins between them', () => {
    const holds = [hold('w1', 1, 0, 500), hold('w2', 2, 10, 20), hold('w3', 3, 400, 600)];
    expect(checksOf(overlaps(holds))).toEqual(['overlap', 'overlap']);
  });

  it('a check of torture ignores a grant that came too late, so that held was never true', () => {
    const late = { ...hold('w1', 1, 150, 160), from: undefined, until: undefined };
    const holds = [late, hold('w2', 2, 100, 300)];
    expect([...overlaps(holds), ...tokensThatDoNotGrow(holds)]).toEqual([]);
  });

  it.each([
    ['is smaller than', 4],
    ['is the same as', 5],
  ])('a check of torture finds a token that %s the token of the holder before', (_, token) => {
    const found = tokensThatDoNotGrow([hold('w1', 5, 0, 100), hold('w2', token, 200, 300)]);
    expect(checksOf(found)).toContain('token');
  });
});

describe('the fenced ledger', () => {
  const entry = (id: string, kind: LogEntry['kind'], token: number, value: number): LogEntry => ({
    ledger: 'a/fenced',
    id,
    kind,
    token,
    value,
  });
  const right = [
    entry('1c', 'claim', 1, 0),
    entry('1f', 'fenced', 1, 1),
    entry('2c', 'claim', 2, 1),
    entry('3c', 'claim', 3, 1),
    entry('3f', 'fenced', 3, 2),
  ];

  it('a check of torture accepts growing tokens and values', () => {
    expect(brokenFence(right)).toEqual([]);
  });

  it('a check of torture finds an accepted write with an older token', () => {
    expect(checksOf(brokenFence([...right, entry('2f', 'fenced', 2, 3)]))).toEqual(['stale write accepted']);
  });

  it('a check of torture finds a write to the fenced ledger that ignores the value of the write before', () => {
    expect(checksOf(brokenFence([...right, entry('4f', 'fenced', 4, 2)]))).toEqual(['lost update']);
  });
});

describe('the ledger without a fence', () => {
  const entry = (id: string, token: number, value: number): LogEntry => ({
    ledger: 'a/plain',
    id,
    kind: 'plain',
    token,
    value,
  });
  const told = (...checked: { held: Hold; checkedAt: number }[]) => ({
    holds: new Map(checked.map(({ held }) => [held.id, held])),
    writes: new Map<string, Write>(
      checked.map(({ held, checkedAt }) => [
        `${held.token}p`,
        { id: `${held.token}p`, hold: held.id, at: checkedAt },
      ]),
    ),
  });
  const first = { held: hold('w1', 1, 0, 100), checkedAt: 90 };
  const second = { held: hold('w2', 2, 900, 1_000), checkedAt: 950 };

  it('a check of torture accepts writes that increment the value of the write before', () => {
    const log = [entry('1p', 1, 1), entry('2p', 2, 2)];
    expect(lateWrites(log, told(first, second))).toEqual({ late: 0, violations: [] });
  });

  it.each([
    ['after', [entry('2p', 2, 1), entry('1p', 1, 1)]],
    ['between the read and the write of', [entry('1p', 1, 1), entry('2p', 2, 1)]],
  ])(
    "a check of torture counts a write as late, not wrong, if it was checked in time and carried out %s the next holder's",
    (_, log) => {
      expect(lateWrites(log, told(first, second))).toEqual({ late: 1, violations: [] });
    },
  );

  it('a check of torture finds a lost write whose check came after the next grant', () => {
    const late = { ...first, checkedAt: 910 };
    const { violations } = lateWrites([entry('1p', 1, 1), entry('2p', 2, 1)], told(late, second));
    expect(checksOf(violations)).toEqual(['lost update']);
  });
});

describe('the answers that workers got', () => {
  const log: LogEntry[] = [{ ledger: 'a/fenced', id: '1f', kind: 'fenced', token: 1, value: 1 }];
  const answer = (id: string, outcome: Write['outcome']) =>
    new Map<string, Write>([[id, { id, hold: 'w1-1', at: 0, outcome }]]);

  it.each([
    ['1f', 'accepted'],
    ['1f', 'unknown'],
    ['2f', 'refused'],
    ['2f', 'unknown'],
  ] as const)(
    'a check of torture accepts for write %s the answer "%s" if only write 1f was carried out',
    (id, outcome) => {
      expect(wrongAnswers(log, answer(id, outcome))).toEqual([]);
    },
  );

  it.each([
    ['2f', 'accepted'],
    ['1f', 'refused'],
  ] as const)(
    'a check of torture finds for write %s the wrong answer "%s" if only write 1f was carried out',
    (id, outcome) => {
      expect(checksOf(wrongAnswers(log, answer(id, outcome)))).toEqual(['write lost']);
    },
  );
});

describe('the key of a killed worker', () => {
  const kills = [{ worker: 'w1', key: 'a', token: 1, at: 1_000 }];
  const wants = [{ id: 'w2-2', worker: 'w2', key: 'a', from: 500, until: 5_000 }];
  const judge = (takenAt: number, disturbances = [] as { from: number; until: number }[]) =>
    takeOvers({
      kills,
      wants,
      holds: [hold('w1', 1, 0, 1_000), hold('w2', 2, takenAt, takenAt + 100)],
      disturbances,
      lags: [],
    });

  it('a check of torture demands that a waiter gets the key of a killed worker within ttl, poll and 250 ms', () => {
    expect(judge(2_250)).toEqual([
      expect.objectContaining({ took: 1_250, undisturbed: true, tooLong: false }),
    ]);
    expect(checksOf(lateTakeOvers(judge(2_251)))).toEqual(['take-over']);
  });

  it('a check of torture allows more time for a take-over after an outage of the database', () => {
    const outage = [{ from: 1_100, until: 1_600 }];
    expect(judge(3_700, outage)).toEqual([expect.objectContaining({ undisturbed: false, tooLong: false })]);
    expect(checksOf(lateTakeOvers(judge(3_800, outage)))).toEqual(['take-over']);
  });

  it('a check of torture demands no take-over before a worker wants the key of a killed worker', () => {
    const late = takeOvers({
      kills,
      wants: [{ ...wants[0]!, from: 8_000, until: 9_000 }],
      holds: [hold('w2', 2, 8_050, 8_100)],
      disturbances: [],
      lags: [],
    });
    expect(lateTakeOvers(late)).toEqual([]);
  });
});
