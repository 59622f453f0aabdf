import { ChildProcess } from '../child-process.mjs';

const PROGRAM = new URL('peer-process.mjs', import.meta.url);

/**
 * Starts a peer in a process of its own, on a new database, or on a Redis server at `url`.
 *
 * @param floor the store and the URL of the database that the peer's pair is compared with;
 * without it, the peer's own database
 * @returns the process, which follows the orders `pairs(counts)`, `rate({ callers, slice })`
 * and `drain({ waiters, hold })`
 */
export async function startPeer({ peer, variant, store, servers, connections, url, floor }) {
  const own = url ?? (await servers.database(store));
  return ChildProcess.start(PROGRAM, {
    name: peer.name,
    variant,
    store,
    connections,
    url: own,
    floor: floor ?? { store, url: own },
  });
}
