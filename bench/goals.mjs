/** A goal that is an upper limit. */
export const atMost = (limit) => ({
  text: `<= ${limit.toLocaleString('en')}`,
  isReached: (value) => value <= limit,
});

/** A goal that is a lower limit. */
export const atLeast = (limit) => ({
  text: `>= ${limit.toLocaleString('en')}`,
  isReached: (value) => value >= limit,
});

/** For a ratio that may not grow: most blocks reach down to 1, or all lie below 1.03. */
export const NO_DEARER = { text: '<= 1', isReached: (_, [low, high]) => low <= 1 || high < 1.03 };

/** For a ratio that may not shrink: most blocks reach up to 1, or all lie above 0.97. */
export const NO_SLOWER = { text: '>= 1', isReached: (_, [low, high]) => high >= 1 || low > 0.97 };

/** What has no goal. */
export const NONE = { text: '' };

/**
 * One row of the table: the measured value, held against its goal.
 *
 * @param range from where to where most blocks lie
 */
export function judged({ store, measured, unit, goal = NONE, inconclusive = false, range, details = {} }) {
  return {
    store,
    measured,
    unit,
    goal: goal.text,
    verdict: verdictOf({ measured, goal, inconclusive, range }),
    details: range ? { 'p10–p90 of the blocks': range, ...details } : details,
  };
}

function verdictOf({ measured, goal, inconclusive, range }) {
  if (!goal.isReached) return 'reported';
  if (inconclusive) return 'inconclusive';
  return goal.isReached(measured, range) ? 'reached' : 'missed';
}

/** A row that says why there is no figure. */
export function notMeasured({ store, goal = NONE, reason, details = {} }) {
  const row = judged({ store, measured: undefined, unit: '', goal, details: { ...details, reason } });
  return { ...row, verdict: 'not measured' };
}
