import { atLeast, judged, notMeasured } from '../goals.mjs';
import { interleaveSlices, rateOf } from '../interleave.mjs';
import { openLocks } from '../locks.mjs';
import { startPeer } from '../peers/start-peer.mjs';

const CONNECTIONS = 10;
const OURS = 'nestjs-locked';
const GOAL = atLeast(1.8);
const QUICK_BLOCKS = 5;

/** Pairs per second of ten callers, each with a key of its own, on ten connections, against the best peer that keeps leases on the same server. */
export default {
  id: 'P3',
  title: `pairs/s ÷ the best SQL peer's, ${CONNECTIONS} connections`,
  stores: ['postgres', 'mariadb'],

  async measure(context) {
    const { store, servers, peers, progress } = context;
    const rivals = peers.filter(({ kind, stores }) => kind === 'sql' && stores.includes(store));
    if (rivals.length === 0)
      return [notMeasured({ store, goal: GOAL, reason: 'it takes the peers: add --peers' })];
    const { locks, close } = await openLocks({
      store,
      url: await servers.database(store),
      connections: CONNECTIONS,
    });
    const contestants = [];
    try {
      for (const peer of rivals)
        for (const variant of peer.variants) {
          progress.tell(`starts ${peer.name}, ${variant}`);
          const child = await startPeer({ peer, variant, store, servers, connections: CONNECTIONS });
          contestants.push({ name: `${peer.name}, ${variant}`, peer, variant, child });
        }
      return await compete(context, locks, contestants);
    } finally {
      await Promise.all(contestants.map(({ child }) => child.close()));
      await close();
    }
  },
};

async function compete({ store, counts, slice, quick, progress }, locks, contestants) {
  const pair = async (caller) => (await locks.acquire(`key-${caller}`)).release();
  const rates = {
    [OURS]: (milliseconds) => rateOf(pair, CONNECTIONS, milliseconds),
    ...Object.fromEntries(
      contestants.map(({ name, child }) => [
        name,
        (milliseconds) => child.ask('rate', { callers: CONNECTIONS, slice: milliseconds }),
      ]),
    ),
  };
  progress.tell('compares');
  const blocks = quick ? QUICK_BLOCKS : counts.blocks;
  const found = await interleaveSlices(rates, { reference: OURS, slice, blocks });

  const ranked = contestants.toSorted((a, b) => found.rates[b.name] - found.rates[a.name]);
  const best = ranked.find(({ peer }) => peer.lease);
  const { ratio, low, high, inconclusive } = found.ratios[best.name];
  const winner = judged({
    store,
    measured: 1 / ratio,
    unit: '×',
    goal: GOAL,
    inconclusive,
    details: {
      'the best': best.name,
      'p10–p90 of the blocks': [1 / high, 1 / low],
      'per second': found.rates,
      'not held against us, since they keep no lease': ranked
        .filter(({ peer }) => !peer.lease)
        .map(({ name }) => name),
    },
  });
  const others = ranked.map(({ name, peer, variant }) => ({
    title: `pairs/s ÷ those of ${name}`,
    ...judged({
      store,
      measured: found.rates[OURS] / found.rates[name],
      unit: '×',
      details: { peer: peer.name, variant, lease: peer.lease, 'per second': found.rates[name] },
    }),
  }));
  return [winner, ...others];
}
