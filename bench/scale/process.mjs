// An application that holds very many locks, in a separate process.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LockModule, LockService, memoryStore } from '../../dist/esm/index.js';
import { serve } from '../child-process.mjs';
import { watchEventLoop } from '../event-loop.mjs';
import { createApplication, openLocks } from '../locks.mjs';

const CONNECTIONS = 10;
const TTL = 60_000;
/** A renewal counts as late if it is more than this number of milliseconds overdue. */
const LATE = 1_000;
/** How many acquisitions run at the same time. */
const AT_ONCE = 500;
/**
 * How many locks are acquired and released beforehand, so that compiled code does not count as
 * memory of locks.
 */
const WARM_UPS = 1_000;
/** How many waiters each key has. */
const WAITERS_OF_KEY = 100;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

serve(async ({ store, url }) => {
  const { locks, close } =
    store === 'none'
      ? await inMemory()
      : await openLocks({ client: 'driver', store, url, connections: CONNECTIONS });
  const held = [];
  let interval = 0;
  let lost = 0;
  locks.events.on('lost', () => lost++);

  return {
    /** Acquires the locks. Returns how many bytes of heap they take. */
    async hold({ count, renewEvery }) {
      interval = renewEvery;
      for (let i = 0; i < WARM_UPS; i++) await (await locks.acquire(`warm-up-${i % 50}`)).release();
      const before = usedHeap();
      const begin = performance.now();
      const numbers = Array.from({ length: count }, (_, i) => i).values();
      const acquire = async () => {
        for (const i of numbers) held.push(await locks.acquire(`held-${i}`, { ttl: TTL, renewEvery }));
      };
      await Promise.all(Array.from({ length: AT_ONCE }, acquire));
      const seconds = (performance.now() - begin) / 1_000;
      return { bytes: usedHeap() - before, seconds };
    },
    /**
     * Watches the event loop for some time, and then checks how much time each lease has left.
     */
    async watch({ milliseconds }) {
      const turns = await watchEventLoop(milliseconds);
      const now = Date.now();
      const left = held.map((lock) => lock.expiresAt - now);
      const least = left.reduce((smallest, one) => Math.min(smallest, one), Infinity);
      return { ...turns, lost, least, late: left.filter((one) => one < TTL - interval - LATE).length };
    },
    /** Adds callers that wait for held keys. Returns how many bytes of heap they take. */
    async wait({ count }) {
      const before = usedHeap();
      for (let i = 0; i < count; i++)
        locks.acquire(`held-${Math.floor(i / WAITERS_OF_KEY)}`, { wait: '1h' }).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      return { bytes: usedHeap() - before };
    },
    close,
  };
});

async function inMemory() {
  const app = await createApplication([LockModule.forRoot({ store: memoryStore() })]);
  return { locks: app.get(LockService), close: () => app.close() };
}

function usedHeap() {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}
