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
 * The libraries that this library is compared with. `stores` are their databases. `lease` is
 * true if their locks are leases, and false if a lock ends with its database session.
 * `waiting` is `polls`, `on the server`, or `left to the caller`.
 *
 * The variant `default` has the default delays and pool of the library. The variant `tuned`
 * has the delays that are fastest when a lock is held for 5 ms, a pool as large as ours, and
 * never gives up.
 *
 * `open({ url, store, connections, variant })` returns `pair(key)`, `close()`, and
 * `run(key, body)`, which waits in the way of the library.
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
  // The exact version of the package; undefined for a peer that is not a package.
  version: versions[peer.name.split(',')[0]],
  open: async (terms) => withPair(await peer.open(terms)),
}));

const nothing = async () => {};
const withPair = (opened) => ({ ...opened, pair: (key) => opened.run(key, nothing) });
