import { startRedis } from './redis.mjs';

/** The store beside which the peers on Redis are measured. */
const BESIDE_REDIS = 'postgres';

/** What the two tables of Redis are: one forgets what it has answered when it crashes, the other does not. */
const SERVERS = [
  { durable: false, kind: 'volatile' },
  { durable: true, kind: 'appendfsync always' },
];

/**
 * Measures every variant of every peer that has the store, and beside one store those on Redis, on servers that run only meanwhile.
 *
 * @param measure is told `{ peer, variant, name, label, where }`, of which `where` goes to `startPeer`, and gives a result
 */
export async function eachVariant({ store, servers, peers, progress }, measure) {
  const results = [];
  const measureAll = async ({ label, where }) => {
    for (const peer of peers.filter(({ stores }) => stores.includes(where.store)))
      for (const variant of peer.variants) {
        const name = [label, peer.name].filter(Boolean).join(': ');
        progress.tell(`${name}, ${variant}`);
        results.push(await measure({ peer, variant, name, label, where }));
      }
  };

  await measureAll({ where: { store, servers } });
  if (store !== BESIDE_REDIS || !peers.some(({ kind }) => kind === 'redis')) return results;
  const floor = { store, url: await servers.database(store) };
  for (const { durable, kind } of SERVERS) {
    const { url, version, stop } = await startRedis({ durable });
    try {
      await measureAll({ label: `Redis ${version}, ${kind}`, where: { store: 'redis', url, floor } });
    } finally {
      await stop();
    }
  }
  return results;
}
