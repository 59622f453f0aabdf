import { ChildProcess } from '../child-process.mjs';
import { atLeast, judged } from '../goals.mjs';
import { interleaveSlices } from '../interleave.mjs';
import { startPeer } from '../peers/start-peer.mjs';

const CONNECTIONS = 10;
const OURS = 'nestjs-locked';
const GOAL = atLeast(1.8);
/**
 * Milliseconds for the warm-up in a quick run, since new processes are slow until their code
 * is compiled.
 */
const QUICK = { blocks: 4, warmUpSlice: 300 };
const APPLICATION = new URL('../application.mjs', import.meta.url);

/**
 * Compares the locks per second of ten callers, each with its own key, on ten connections,
 * with those of the best peer with leases on the same server.
 */
export default {
  id: 'P3',
  title: "pairs/s ÷ the best SQL peer's",
  stores: ['postgres', 'mariadb'],

  async measure(context) {
    const { store, servers, progress } = context;
    // The peers are imported only here, since their packages are installed only for the bench.
    const { peers } = await import('../peers/index.mjs');
    const rivals = peers.filter(
      ({ kind, stores, hasGoals = true }) => kind === 'sql' && hasGoals && stores.includes(store),
    );
    const url = await servers.database(store);
    const contestants = [];
    const ours = await ChildProcess.start(APPLICATION, { store, url, connections: CONNECTIONS });
    try {
      progress.tell('starts the peers');
      for (const peer of rivals)
        for (const variant of peer.variants)
          contestants.push({ name: `${peer.name}, ${variant}`, peer, variant });
      await Promise.all(
        contestants.map(async (contestant) => {
          const { peer, variant } = contestant;
          contestant.child = await startPeer({ peer, variant, store, servers, connections: CONNECTIONS });
        }),
      );
      return await compete(context, ours, contestants);
    } finally {
      await Promise.all(contestants.map(({ child }) => child?.close()));
      await ours.close();
    }
  },
};

async function compete({ store, counts, slice, quick, progress }, ours, contestants) {
  const rates = Object.fromEntries(
    [{ name: OURS, child: ours }, ...contestants].map(({ name, child }) => [
      name,
      (milliseconds) => child.ask('rate', { callers: CONNECTIONS, slice: milliseconds }),
    ]),
  );
  progress.tell('compares');
  const { blocks, warmUpSlice } = quick ? QUICK : { blocks: counts.blocks, warmUpSlice: 2_000 };
  const found = await interleaveSlices(rates, { reference: OURS, slice, blocks, warmUpSlice });

  const ranked = contestants.toSorted((a, b) => found.rates[b.name] - found.rates[a.name]);
  const leases = ranked.filter(({ peer }) => peer.lease);
  const libraries = leases.filter(({ peer }) => peer.waiting !== 'left to the caller');
  const against = ({ name }, variant) => {
    const { ratio, low, high, inconclusive } = found.ratios[name];
    const details = {
      variant,
      'the best': name,
      connections: CONNECTIONS,
      'p10–p90 of the blocks': [1 / high, 1 / low],
      'per second': found.rates,
      'not held against us, since they keep no lease': ranked
        .filter(({ peer }) => !peer.lease)
        .map((contestant) => contestant.name),
    };
    return judged({ store, measured: 1 / ratio, unit: '×', goal: GOAL, inconclusive, details });
  };
  const others = ranked.map(({ name, peer, variant }) => ({
    title: `pairs/s ÷ those of ${peer.name}`,
    ...judged({
      store,
      measured: found.rates[OURS] / found.rates[name],
      unit: '×',
      details: { variant, peer: peer.name, lease: peer.lease, 'per second': found.rates[name] },
    }),
  }));
  return [against(libraries[0], 'libraries'), against(leases[0], 'libraries and bare statements'), ...others];
}
