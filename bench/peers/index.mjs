import { readFileSync } from 'node:fs';
import { advisoryLock } from './advisory-lock.mjs';
import { pgMutexLock } from './pg-mutex-lock.mjs';
import { redisSemaphore } from './redis-semaphore.mjs';
import { redlock, sesameRedlock } from './redlock.mjs';
import { preparedShedlock, shedlock } from './shedlock.mjs';
import { verrouKnex, verrouKysely, verrouRedis } from './verrou.mjs';

const { devDependencies: versions } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);

/**
 * The libraries that we compare with. `stores` are their databases. `lease` says whether their
 * locks are leases, or end with a database session. Their kind of waiting is `polls`, `on the
 * server`, or `left to the caller`.
 *
 * The variant `default` has the default delays and pool. `tuned` has the delays with which it
 * is fastest when a lock is held for 5 ms, a pool as large as ours, and never gives up.
 *
 * `open({ url, store, connections, variant })` returns `pair(key)`, `close()`, and `run(key,
 * body)`, which waits as the library does.
 */
export const peers = [
  verrouKnex,
  verrouKysely,
  shedlock,
  preparedShedlock,
  advisoryLock,
  pgMutexLock,
  verrouRedis,
  redlock,
  sesameRedlock,
  redisSemaphore,
].map((peer) => ({
  ...peer,
  version: versions[peer.name.split(',')[0]], // of a package; exact there
  open: async (terms) => withPair(await peer.open(terms)),
}));

const nothing = async () => {};
const withPair = (opened) => ({ ...opened, pair: (key) => opened.run(key, nothing) });
