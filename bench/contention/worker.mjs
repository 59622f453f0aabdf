// An application that waits for locks, in a process of its own.
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../child-process.mjs';
import { openFloor } from '../floors.mjs';
import { openLocks } from '../locks.mjs';
import { now } from '../shared-clock.mjs';
import { drain } from './drain.mjs';
import { WAIT, workOnHotKey } from './hot-key.mjs';
import { countStatements } from './statement-counter.mjs';

serve(async (settings) => {
  const opened = await openLocks({ ...settings, counted: true });
  const { locks } = opened;
  const floor = await openFloor(settings.store, settings.url);
  const count = countStatements(opened);
  await locks.run(`warm-up-${process.pid}`, () => {});

  return {
    work: (terms) => workOnHotKey(locks, floor, count, terms),
    drain: (terms) => drain((key, body) => locks.run(key, body, { wait: WAIT }), terms),
    /**
     * Holds the key without further work. Returns when its lease ends, on the shared clock.
     */
    async holdForever({ key, ttl }) {
      await locks.acquire(key, { ttl, autoRenew: false });
      return expiryOf(locks, key);
    },
    /** Gives when it was granted the key, on the shared clock, and lets it go. */
    async take({ key }) {
      const lock = await locks.acquire(key, { wait: WAIT });
      const grantedAt = now();
      await lock.release();
      return grantedAt;
    },
    async close() {
      await floor.close();
      await opened.close();
    },
  };
});

/**
 * The earliest time at which the lease of a key can end. The database reports the rest of the
 * lease at some time between the request and its answer.
 */
async function expiryOf(locks, key) {
  const expiries = [];
  for (let look = 0; look < 10; look++) {
    const askedAt = now();
    const { holder } = await locks.admin.inspect(key);
    expiries.push({ took: now() - askedAt, expiresAt: askedAt + holder.remaining });
    await sleep(2);
  }
  return expiries.toSorted((a, b) => a.took - b.took)[0].expiresAt;
}
