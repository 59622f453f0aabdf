import { ChildProcess } from '../child-process.mjs';

const PROGRAM = new URL('peer-process.mjs', import.meta.url);

/**
 * Starts a peer in a separate process, on a new database, or on the Redis server at `url`.
 *
 * @param floor the store and the URL of the database whose durable writes the peer is compared
 * with; by default, the peer's own database
 * @returns the process, which carries out the orders `pairs(counts)`,
 * `rate({ callers, slice })` and `drain({ waiters, hold })`
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
