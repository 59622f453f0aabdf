import { startRedis } from './redis.mjs';

/** The peers on Redis are measured only in the runs with this store. */
const BESIDE_REDIS = 'postgres';

/**
 * The two kinds of Redis: in a crash, the volatile one may lose writes that it has
 * acknowledged, and the durable one does not.
 */
const SERVERS = [
  { durable: false, kind: 'volatile' },
  { durable: true, kind: 'appendfsync always' },
];

/**
 * Measures every variant of every peer for the store. For PostgreSQL it also measures the
 * peers on Redis, and runs the Redis servers only for that time.
 *
 * @param measure receives `{ peer, variant, name, label, where }`, passes `where` on to
 * `startPeer`, and returns a result
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
