import { atLeast, NO_SLOWER } from '../goals.mjs';
import { throughputByCallers } from '../load/by-callers.mjs';

const GOALS = {
  againstPeers: { 100: atLeast(2), 1_000: atLeast(4) },
  againstUnbatched: { 10: NO_SLOWER },
};

/**
 * Compares the pairs of acquire and release per second of many callers with those of the best
 * peer, on MariaDB and MySQL.
 */
export default {
  id: 'S2',
  title: "pairs/s ÷ the best SQL peer's",
  stores: ['mariadb', 'mysql'],
  measure: (context) => throughputByCallers(context, GOALS),
};
