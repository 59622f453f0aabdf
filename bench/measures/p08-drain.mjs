import { CONNECTIONS, HOLD, startWorkers } from '../contention/contend.mjs';
import { openFloor } from '../floors.mjs';
import { atMost, judged } from '../goals.mjs';
import { idealDrain } from '../contention/drain.mjs';
import { againstPeers } from '../peers/drains.mjs';
import { comparisonOf, median } from '../statistics.mjs';

const WAITERS = 100;
const WORK = { waiters: WAITERS, hold: HOLD };
const ROUNDS = { full: 15, quick: 2 };

/** How long many who want one key at once take until the last of them is through, against the least that it can be, and against the peers. */
export default {
  id: 'P8',
  title: `${WAITERS} waiters × ${HOLD} ms drained ÷ ideal`,
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],

  async measure(context) {
    const { store, servers, quick, progress, peers } = context;
    const { url, workers, close } = await startWorkers({ store, servers, processes: 1 });
    const floor = await openFloor(store, url);
    const drainOurs = async () => (await workers[0].ask('drain', WORK)).took;
    try {
      await drainOurs();
      const rounds = quick ? ROUNDS.quick : ROUNDS.full;
      const taken = { ideal: [], ours: [] };
      for (let round = 1; round <= rounds; round++) {
        progress.tell(`${round} of ${rounds}`);
        taken.ideal.push(await idealDrain(floor, WORK));
        taken.ours.push(await drainOurs());
      }
      const rows = [resultOf(store, taken)];
      if (peers.length > 0) rows.push(...(await againstPeers({ ...context, work: WORK, drainOurs })));
      return rows;
    } finally {
      await floor.close();
      await close();
    }
  },
};

function resultOf(store, { ideal, ours }) {
  const { ratio, low, high, inconclusive } = comparisonOf(
    median(ours) / median(ideal),
    ours.map((took, round) => took / ideal[round]),
  );
  return judged({
    store,
    measured: ratio,
    unit: '× ideal',
    goal: atMost(1.1),
    inconclusive,
    details: {
      'p10–p90 of the rounds': [low, high],
      'drained, ms': median(ours),
      'ideal, ms': median(ideal),
      connections: CONNECTIONS,
    },
  });
}
