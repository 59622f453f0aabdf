import { handOffResults } from '../contention/hand-off-results.mjs';
import { atLeast, atMost } from '../goals.mjs';

/** The goals for PostgreSQL; on other databases the values are only reported. */
const GOALS = { handOff: atMost(1.6), share: atLeast(0.8) };
const TITLE = '8 processes × 1 waiter';

/**
 * Measures the hand-off of a lock from process to process, when each process has a single
 * waiter.
 */
export default {
  id: 'P7',
  title: `hand-off ÷ floor, ${TITLE}`,
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],
  goalsOn: ['postgres'],
  measure: (context) =>
    handOffResults(context, {
      processes: 8,
      waiters: 1,
      title: TITLE,
      goals: context.store === 'postgres' ? GOALS : {},
    }),
};
