import { handOffResults } from '../contention/hand-off-results.mjs';
import { atLeast, atMost } from '../goals.mjs';

/** Those of PostgreSQL; on the others it is reported. */
const GOALS = { handOff: atMost(1.6), share: atLeast(0.8) };
const TITLE = '8 processes × 1 waiter';

/** What it takes to hand a lock on when the others wait in other processes. */
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
