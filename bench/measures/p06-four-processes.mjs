import { handOffResults } from '../contention/hand-off-results.mjs';
import { atLeast, atMost } from '../goals.mjs';

/** The goals for PostgreSQL; on other databases the values are only reported. */
const GOALS = { handOff: atMost(1.2), statements: atMost(3.5), share: atLeast(0.8) };
const TITLE = '4 processes × 25 waiters';

/**
 * Measures the hand-off of a lock when several processes have waiters, and whether each
 * process gets its share of the lock.
 */
export default {
  id: 'P6',
  title: `hand-off ÷ floor, ${TITLE}`,
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],
  goalsOn: ['postgres'],
  measure: (context) =>
    handOffResults(context, {
      processes: 4,
      waiters: 25,
      title: TITLE,
      goals: context.store === 'postgres' ? GOALS : {},
    }),
};
