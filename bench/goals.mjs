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

/** What has no goal. */
export const NONE = { text: '' };

/** One row of the table: the measured value, held against its goal. */
export function judged({ store, measured, unit, goal = NONE, inconclusive = false, details = {} }) {
  return {
    store,
    measured,
    unit,
    goal: goal.text,
    verdict: verdictOf(measured, goal, inconclusive),
    details,
  };
}

function verdictOf(measured, goal, inconclusive) {
  if (!goal.isReached) return 'reported';
  if (inconclusive) return 'inconclusive';
  return goal.isReached(measured) ? 'reached' : 'missed';
}

/** A row that says why there is no figure. */
export function notMeasured({ store, goal = NONE, reason, details = {} }) {
  const row = judged({ store, measured: undefined, unit: '', goal, details: { ...details, reason } });
  return { ...row, verdict: 'not measured' };
}
