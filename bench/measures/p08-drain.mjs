import { CONNECTIONS, HOLD, startWorkers } from '../contention/contend.mjs';
import { openFloor } from '../floors.mjs';
import { atMost, judged } from '../goals.mjs';
import { untilConclusive } from '../interleave.mjs';
import { idealDrain } from '../contention/drain.mjs';
import { againstPeers } from '../peers/drains.mjs';
import { comparisonOf, median } from '../statistics.mjs';

const WAITERS = 100;
const WORK = { waiters: WAITERS, hold: HOLD };
const ROUNDS = { full: 15, quick: 2 };

/**
 * Measures how long it takes until many callers that want one key at once have all held it.
 * The time is compared with the shortest possible time and with that of the peers.
 */
export default {
  id: 'P8',
  title: `${WAITERS} waiters × ${HOLD} ms drained ÷ ideal`,
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],

  async measure(context) {
    const { store, servers, counts, quick, progress, peers } = context;
    const { url, workers, close } = await startWorkers({ store, servers, processes: 1 });
    const floor = await openFloor(store, url);
    const drainOurs = async () => (await workers[0].ask('drain', WORK)).took;
    try {
      await drainOurs();
      const rounds = quick ? ROUNDS.quick : ROUNDS.full;
      const drained = await untilConclusive(counts.attempts, async () => {
        const taken = [];
        for (let round = 1; round <= rounds; round++) {
          progress.tell(`${round} of ${rounds}`);
          taken.push({ ideal: await idealDrain(floor, WORK), ours: await drainOurs() });
        }
        return comparedWithIdeal(taken);
      });
      const rows = [resultOf(store, drained)];
      if (peers.length > 0) rows.push(...(await againstPeers({ ...context, work: WORK, drainOurs })));
      return rows;
    } finally {
      await floor.close();
      await close();
    }
  },
};

function comparedWithIdeal(rounds) {
  const ideal = median(rounds.map((round) => round.ideal));
  const ours = median(rounds.map((round) => round.ours));
  const ratios = rounds.map((round) => round.ours / round.ideal);
  return { ideal, ours, ratios: { ours: comparisonOf(ours / ideal, ratios) } };
}

function resultOf(store, { ideal, ours, ratios }) {
  const { ratio, low, high, inconclusive } = ratios.ours;
  return judged({
    store,
    measured: ratio,
    unit: '× ideal',
    goal: atMost(1.1),
    inconclusive,
    details: {
      'p10–p90 of the rounds': [low, high],
      'drained, ms': ours,
      'ideal, ms': ideal,
      connections: CONNECTIONS,
    },
  });
}
