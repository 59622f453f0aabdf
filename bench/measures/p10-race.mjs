import { openFloors } from '../floors.mjs';
import { atMost, judged, NONE } from '../goals.mjs';
import { interleave, untilConclusive } from '../interleave.mjs';
import { openLocks } from '../locks.mjs';

const INSTANCES = 50;
const GOALS = { postgres: atMost(1.6), mariadb: atMost(1.4), mongodb: NONE };
/** In quick runs, and in full ones. */
const ROUNDS = { quick: { warmUps: 3, iterations: 30 }, full: { warmUps: 20, iterations: 300 } };
const PAST = '3650d';
const TICK = '1h';

/**
 * Instances of an application, each with a connection of its own, race for one tick of a key that has run before, against as many SELECTs by key at once.
 * Exactly one has to win.
 */
export default {
  id: 'P10',
  title: `${INSTANCES}-instance race ÷ ${INSTANCES} SELECTs`,
  stores: ['postgres', 'mariadb', 'mongodb'],

  async measure({ store, servers, counts, quick, progress }) {
    const url = await servers.database(store);
    const instances = [];
    const floors = await openFloors(store, url, INSTANCES);
    try {
      progress.tell('opens the instances');
      for (let i = 0; i < INSTANCES; i++) instances.push(await openLocks({ store, url })); // one after the other: the first makes the table
      await floors[0].pair('row');
      const keys = await keysThatHaveRun(instances[0].locks, quick ? 40 : 700);
      let races = 0;

      const race = async () => {
        const key = keys[races++];
        const tries = await Promise.all(instances.map(({ locks }) => locks.tryAcquire(key, { once: TICK })));
        const winners = tries.filter(Boolean);
        if (winners.length !== 1) throw new Error(`${winners.length} of ${INSTANCES} instances won one tick`);
        return winners[0];
      };
      // The release is no part of the race: it is made before the next measurement.
      let last;
      const operations = {
        select: () => Promise.all(floors.map((floor) => floor.select('row'))),
        race: async () => (last = await race()),
      };
      const before = async () => {
        await last?.release();
        last = undefined;
      };
      const rounds = { ...(quick ? ROUNDS.quick : ROUNDS.full), blocks: counts.blocks };
      const { times, ratios } = await untilConclusive(counts.attempts, () =>
        interleave(operations, { ...rounds, before, reference: 'select' }),
      );
      const { ratio, low, high, inconclusive } = ratios.race;
      const details = {
        'p10–p90 of the blocks': [low, high],
        ms: times,
        'races with exactly one winner': races,
      };
      return [
        judged({
          store,
          measured: ratio,
          unit: `× ${INSTANCES} SELECTs`,
          goal: GOALS[store],
          inconclusive,
          details,
        }),
      ];
    } finally {
      await Promise.all(floors.map((floor) => floor.close()));
      await Promise.all(instances.map(({ close }) => close()));
    }
  },
};

/** Keys with a row, as a job has after its first run: their last tick is the beginning of a slot of years. */
async function keysThatHaveRun(locks, count) {
  const keys = Array.from({ length: count }, (_, i) => `job-${i}`);
  for (const key of keys) await (await locks.acquire(key, { once: PAST })).release();
  return keys;
}
