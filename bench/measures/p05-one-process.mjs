import { handOffResults } from '../contention/hand-off-results.mjs';
import { atMost } from '../goals.mjs';

const GOALS = { statements: atMost(1.2) };
/**
 * Only PostgreSQL has a goal for the time of a hand-off; on other databases the time is only
 * reported.
 */
const GOALS_ON_POSTGRES = { ...GOALS, handOff: atMost(1) };
const TITLE = '1 process × 100 waiters';

/**
 * Measures the hand-off of a lock between waiters of one process: its time and its statements.
 */
export default {
  id: 'P5',
  title: `hand-off ÷ floor, ${TITLE}`,
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],
  measure: (context) =>
    handOffResults(context, {
      processes: 1,
      waiters: 100,
      title: TITLE,
      goals: context.store === 'postgres' ? GOALS_ON_POSTGRES : GOALS,
    }),
};
