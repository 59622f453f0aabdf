// The program of `npm run ticks -- --plain`: the plain forms of scheduled methods on SQLite,
// PostgreSQL and MongoDB, one round after the other.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { serverOf } from '../servers/stores.mjs';
import { runPlainIntervals, runPlainTicks } from './plain.mjs';

const INTERVALS = [100, 1_000, 5_000];

/**
 * Runs each round for this many seconds. Resolves to whether the ticks ran in every round as
 * the library promises.
 */
export async function plainRounds(seconds) {
  const servers = await Promise.all(['postgres', 'mongodb'].map((store) => serverOf(store).start()));
  const folder = mkdtempSync(join(tmpdir(), 'plain-ticks-'));
  const addresses = {
    sqlite: `sqlite:${join(folder, 'ticks.sqlite')}`,
    postgres: servers[0].url,
    mongodb: servers[1].url,
  };
  let passed = true;
  const tell = (good, text) => {
    passed &&= good;
    console.log(`${good ? 'passed' : 'FAILED'}  ${text}`);
  };
  try {
    // The collection is created before the instances start, because all of them would create
    // it at once.
    const client = await new MongoClient(addresses.mongodb).connect();
    await client.db().createCollection('locks');
    await client.close();
    for (const [store, url] of Object.entries(addresses)) {
      for (const body of [0, 20, 1_500]) {
        const { fired, ran, twice, missing, overlaps } = await runPlainTicks(url, { seconds, body });
        const good = body > 1_000 ? overlaps === 0 && ran >= Math.floor(fired / 2) : missing.length === 0;
        tell(
          good && twice.length === 0,
          `${store}, body of ${body} ms: ${ran} of ${fired} seconds ran, ${twice.length} twice, ${overlaps} overlaps`,
        );
      }
      for (const interval of INTERVALS) {
        const one = await runPlainIntervals(url, { seconds, interval });
        tell(
          one.ran >= Math.floor(one.fired * 0.99) - 1,
          `${store}, one instance, interval of ${interval} ms: ${one.ran} of ${one.fired} firings ran`,
        );
        const gap = Math.max(interval - Math.max(interval * 0.05, 250), interval / 2);
        const three = await runPlainIntervals(url, { instances: 3, seconds, interval });
        tell(
          three.shortest >= gap,
          `${store}, three instances, interval of ${interval} ms: ${three.ran} runs, at least ${three.shortest} ms apart (${gap})`,
        );
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
  return passed;
}
