import { atLeast } from '../goals.mjs';
import { throughputByCallers } from '../load/by-callers.mjs';

const GOALS = {
  againstPeers: { 10: atLeast(1.3), 100: atLeast(5), 1_000: atLeast(7) },
  againstUnbatched: {},
};

/**
 * Compares the pairs of acquire and release per second of many callers with those of the best
 * peer, on PostgreSQL.
 */
export default {
  id: 'S1',
  title: "pairs/s ÷ the best SQL peer's",
  stores: ['postgres'],
  measure: (context) => throughputByCallers(context, GOALS),
};
