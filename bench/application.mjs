// Starts an application with locks in a separate process, so that no other work shares its
// event loop, memory and compiler.
import { LockNotAcquiredError } from '../dist/esm/index.js';
import { serve } from './child-process.mjs';
import { watchEventLoop } from './event-loop.mjs';
import { rateOf } from './interleave.mjs';
import { openLocks } from './locks.mjs';
import { quantile } from './statistics.mjs';

serve(async ({ connections, ...settings }) => {
  const { locks, close } = await openLocks({ connections, ...settings });
  let lost = 0;
  locks.events.on('lost', () => lost++);

  let refusals = 0;

  /**
   * Acquires a key that no other caller wants. So only the database can refuse it, for example
   * because its row is locked, and the caller tries again.
   */
  const acquire = async (key) => {
    for (;;)
      try {
        return await locks.acquire(key);
      } catch (error) {
        if (!(error instanceof LockNotAcquiredError)) throw error;
        refusals++;
      }
  };
  const pair = async (caller) => (await acquire(`pair-${caller}`)).release();

  return {
    rate: ({ callers, slice }) => rateOf(pair, callers, slice),
    /** The 99th percentile of the milliseconds that a pair of acquire and release takes. */
    async p99({ callers, slice }) {
      const times = [];
      const timed = async (caller) => {
        const begin = performance.now();
        await pair(caller);
        times.push(performance.now() - begin);
      };
      await rateOf(timed, callers, slice);
      return quantile(times, 0.99);
    },
    /**
     * Returns how many pairs of acquire and release per second the callers get, while further
     * callers keep trying to acquire the keys of `tried`.
     */
    async rateBeside({ callers, slice, tried, locked }) {
      let trying = true;
      const tryAgain = async (key) => {
        while (trying) {
          const lock = await locks.tryAcquire(key);
          if (lock && locked) throw new Error(`${key} was granted, although its row is locked`);
          await lock?.release();
        }
      };
      const tries = Promise.all(tried.map(tryAgain));
      const rate = await rateOf(pair, callers, slice).finally(() => (trying = false));
      await tries;
      return rate;
    },
    async hold({ count, renewEvery }) {
      const numbers = Array.from({ length: count }, (_, i) => i).values();
      const acquire = async () => {
        for (const i of numbers) await locks.acquire(`held-${i}`, { ttl: '60s', renewEvery });
      };
      await Promise.all(Array.from({ length: connections }, acquire));
    },
    /** How often the store refused a key that only one caller wanted. */
    refusals: () => refusals,
    watch: async (milliseconds) => ({ ...(await watchEventLoop(milliseconds)), lost }),
    close,
  };
});
