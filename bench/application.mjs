// An application with locks in a process of its own, whose event loop, memory and compiler are its alone.
import { serve } from './child-process.mjs';
import { watchEventLoop } from './event-loop.mjs';
import { rateOf } from './interleave.mjs';
import { openLocks } from './locks.mjs';

serve(async ({ connections, ...settings }) => {
  const { locks, close } = await openLocks({ connections, ...settings });
  let lost = 0;
  locks.events.on('lost', () => lost++);

  const pair = async (caller) => (await locks.acquire(`pair-${caller}`)).release();

  return {
    rate: ({ callers, slice }) => rateOf(pair, callers, slice),
    async hold({ count, renewEvery }) {
      const numbers = Array.from({ length: count }, (_, i) => i).values();
      const acquire = async () => {
        for (const i of numbers) await locks.acquire(`held-${i}`, { ttl: '60s', renewEvery });
      };
      await Promise.all(Array.from({ length: connections }, acquire));
    },
    watch: async (milliseconds) => ({ ...(await watchEventLoop(milliseconds)), lost }),
    close,
  };
});
