// An application that holds many locks, in a process of its own: the event loop is its alone, and it need not give them back.
import { serve } from '../child-process.mjs';
import { watchEventLoop } from '../event-loop.mjs';
import { openLocks } from '../locks.mjs';

serve(async ({ connections, ...settings }) => {
  const { locks, close } = await openLocks({ connections, ...settings });
  let lost = 0;
  locks.events.on('lost', () => lost++);

  return {
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
