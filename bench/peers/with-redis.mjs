import { startRedis } from './redis.mjs';

/** What the two tables of Redis are: one forgets what it has answered when it crashes, the other does not. */
const KINDS = [
  { durable: false, label: 'Redis, volatile' },
  { durable: true, label: 'Redis, appendfsync always' },
];

/** Does the same on a server of each kind, which runs only meanwhile; gives the results of both. */
export async function withRedis(act) {
  const results = [];
  for (const { durable, label } of KINDS) {
    const server = await startRedis({ durable });
    try {
      results.push(...(await act({ url: server.url, label, version: server.version })));
    } finally {
      await server.stop();
    }
  }
  return results;
}
