// An application that waits for locks, in a separate process.
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
     * Acquires the key and never releases or renews it. Returns the time at which its lease
     * ends, on the shared clock.
     */
    async holdForever({ key, ttl }) {
      await locks.acquire(key, { ttl, autoRenew: false });
      return expiryOf(locks, key);
    },
    /**
     * Acquires the key, releases it, and returns the time of the grant on the shared clock.
     */
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
 * Returns the earliest time at which the lease of a key can end. Of several readings, the
 * quickest counts: the database reads the rest of the lease at an unknown time between request
 * and answer.
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
