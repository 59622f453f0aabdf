import { setTimeout as sleep } from 'node:timers/promises';
import { startWorkers } from '../contention/contend.mjs';
import { atMost, judged } from '../goals.mjs';
import { median, quantile } from '../statistics.mjs';

const HEIRS = 2;
const LENGTHS = { full: { rounds: 30, ttl: 1_000 }, quick: { rounds: 2, ttl: 500 } };

/**
 * Measures how soon one of two waiting processes gets the key of a killed holder, once the
 * holder's lease has expired.
 */
export default {
  id: 'P11',
  title: 'take-over after the expiry, p90',
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],

  async measure({ store, servers, quick, progress }) {
    const { rounds, ttl } = quick ? LENGTHS.quick : LENGTHS.full;
    const { workers, start, close } = await startWorkers({ store, servers, processes: HEIRS });
    try {
      const delays = [];
      for (let round = 1; round <= rounds; round++) {
        progress.tell(`${round} of ${rounds}`);
        delays.push(await takeOver(await start(), workers, `take-over-${round}`, ttl));
      }
      return [
        judged({
          store,
          measured: quantile(delays, 0.9),
          unit: 'ms',
          goal: atMost(10),
          details: {
            'take-overs': rounds,
            p50: median(delays),
            longest: Math.max(...delays),
            'ttl, ms': ttl,
            'waiting processes': HEIRS,
          },
        }),
      ];
    } finally {
      await close();
    }
  },
};

async function takeOver(holder, heirs, key, ttl) {
  const expiresAt = await holder.ask('holdForever', { key, ttl });
  const grants = heirs.map((heir) => heir.ask('take', { key }));
  await sleep(ttl / 5); // by then, both processes wait
  await holder.kill();
  return Math.min(...(await Promise.all(grants))) - expiresAt;
}
