import { ChildProcess } from '../child-process.mjs';

/** The pool of each application, and of each peer. */
export const CONNECTIONS = 10;

/** All processes are new: until their code is compiled they are slow. */
export const WARM_UP = { full: 2_000, quick: 300 };

const PROGRAM = new URL('../application.mjs', import.meta.url);

/** What the driver's own executor is named. */
export const DRIVERS = { postgres: 'fromPg', mariadb: 'fromMysql2', mysql: 'fromMysql2' };

/** An application in a process of its own, on a new database. */
export async function startApplication({ store, servers, client = 'driver', storeOptions }) {
  const url = await servers.database(store);
  return ChildProcess.start(PROGRAM, { store, url, connections: CONNECTIONS, client, storeOptions });
}

/**
 * Two applications that differ in the option `batching` alone.
 *
 * @param measure is given `{ with, without }`
 */
export async function withAndWithoutBatching(context, measure) {
  const started = {};
  try {
    started.with = await startApplication({ ...context, storeOptions: { batching: true } });
    started.without = await startApplication({ ...context, storeOptions: { batching: false } });
    return await measure(started);
  } finally {
    await Promise.all(Object.values(started).map((application) => application.close()));
  }
}
