import { handOffResults } from '../contention/hand-off-results.mjs';
import { atLeast, atMost } from '../goals.mjs';

/** Those of PostgreSQL; on the others it is reported. */
const GOALS = { handOff: atMost(1.2), statements: atMost(3.5), share: atLeast(0.8) };
const TITLE = '4 processes × 25 waiters';

/**
 * The time of a hand-over when calls wait in this process and in others, and whether all
 * processes get the lock.
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
