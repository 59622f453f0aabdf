/** Makes a goal that is reached if the value is at most the limit. */
export const atMost = (limit) => ({
  text: `<= ${limit.toLocaleString('en')}`,
  isReached: (value) => value <= limit,
});

/** Makes a goal that is reached if the value is at least the limit. */
export const atLeast = (limit) => ({
  text: `>= ${limit.toLocaleString('en')}`,
  isReached: (value) => value >= limit,
});

/**
 * The goal for a ratio that should not exceed 1. Blocks vary, so the goal is reached if the
 * low end of their range is at most 1, or if the whole range is below 1.03.
 */
export const NO_DEARER = { text: '<= 1', isReached: (_, [low, high]) => low <= 1 || high < 1.03 };

/**
 * The goal for a ratio that should not fall below 1. Blocks vary, so the goal is reached if
 * the high end of their range is at least 1, or if the whole range is above 0.97.
 */
export const NO_SLOWER = { text: '>= 1', isReached: (_, [low, high]) => high >= 1 || low > 0.97 };

/** Stands for the goal of a measure that has none. */
export const NONE = { text: '' };

/**
 * Makes a row of the table: the measured value, and whether it reaches its goal.
 *
 * @param range the 10th and the 90th percentile of the blocks
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

/** Makes a row that says why the measure has no figure. */
export function notMeasured({ store, goal = NONE, reason, details = {} }) {
  const row = judged({ store, measured: undefined, unit: '', goal, details: { ...details, reason } });
  return { ...row, verdict: 'not measured' };
}
