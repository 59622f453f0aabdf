import { judged } from '../goals.mjs';
import { startPeer } from './start-peer.mjs';
import { withRedis } from './with-redis.mjs';

/** The pair of each peer that has the store, against the floor on the same server. One connection, as ours. */
export async function sqlPairs({ store, servers, peers, counts, progress }) {
  const rows = [];
  for (const peer of peers.filter(({ kind, stores }) => kind === 'sql' && stores.includes(store)))
    for (const variant of peer.variants) {
      progress.tell(`${peer.name}, ${variant}`);
      rows.push(await pairOf({ peer, variant, store, servers, counts }));
    }
  return rows;
}

/** The pair of each peer on Redis, against the floor on the database of ours. */
export async function redisPairs({ store, servers, peers, counts, progress }) {
  const floor = { store, url: await servers.database(store) };
  return withRedis(async ({ url, label }) => {
    const rows = [];
    for (const peer of peers.filter(({ kind }) => kind === 'redis'))
      for (const variant of peer.variants) {
        progress.tell(`${label}: ${peer.name}, ${variant}`);
        rows.push(await pairOf({ peer, variant, store: 'redis', url, label, servers, counts, floor }));
      }
    return rows;
  });
}

async function pairOf({ peer, variant, label, counts, store, floor, ...where }) {
  const child = await startPeer({ peer, variant, connections: 1, store, floor, ...where });
  try {
    const { times, ratios } = await child.ask('pairs', counts);
    const { ratio, low, high, inconclusive } = ratios.pair;
    const { name, lease } = peer;
    const details = {
      peer: name,
      variant,
      lease,
      'p10–p90 of the blocks': [low, high],
      inconclusive,
      ms: times,
    };
    return {
      ...judged({ store: floor?.store ?? store, measured: ratio, unit: '× floor', details }),
      title: `pair ÷ floor, ${[label, name].filter(Boolean).join(': ')}`,
    };
  } finally {
    await child.close();
  }
}
