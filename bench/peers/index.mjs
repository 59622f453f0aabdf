import { advisoryLock } from './advisory-lock.mjs';
import { pgMutexLock } from './pg-mutex-lock.mjs';
import { redisSemaphore } from './redis-semaphore.mjs';
import { redlock, sesameRedlock } from './redlock.mjs';
import { shedlock } from './shedlock.mjs';
import { verrouKnex, verrouKysely, verrouRedis } from './verrou.mjs';

/**
 * The libraries that we compare with: which `stores` they have, whether their locks are a `lease` (or end with a database session), and whether a waiter
 * `polls` (or waits on the server). `open({ url, store, connections, variant })` gives `pair(key)`, `run(key, body)`, which waits as the library does, and
 * `close()`.
 */
export const peers = [
  verrouKnex,
  verrouKysely,
  shedlock,
  advisoryLock,
  pgMutexLock,
  verrouRedis,
  redlock,
  sesameRedlock,
  redisSemaphore,
].map((peer) => ({ ...peer, open: async (terms) => withPair(await peer.open(terms)) }));

const nothing = async () => {};
const withPair = (opened) => ({ ...opened, pair: (key) => opened.run(key, nothing) });
