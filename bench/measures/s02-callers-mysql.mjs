import { atLeast, NO_SLOWER } from '../goals.mjs';
import { throughputByCallers } from '../load/by-callers.mjs';

const GOALS = {
  againstPeers: { 100: atLeast(2), 1_000: atLeast(4) },
  againstUnbatched: { 10: NO_SLOWER },
};

/** Compares pairs per second of many callers on MariaDB and MySQL with the best peer's. */
export default {
  id: 'S2',
  title: "pairs/s ÷ the best SQL peer's",
  stores: ['mariadb', 'mysql'],
  measure: (context) => throughputByCallers(context, GOALS),
};
