import { ChildProcess } from '../child-process.mjs';

/** How many connections the pool of each application and of each peer has. */
export const CONNECTIONS = 10;

/** Milliseconds for the warm-up, since new processes are slow until their code is compiled. */
export const WARM_UP = { full: 2_000, quick: 300 };

const PROGRAM = new URL('../application.mjs', import.meta.url);

/** The name of the executor for the driver of each database. */
export const DRIVERS = { postgres: 'fromPg', mariadb: 'fromMysql2', mysql: 'fromMysql2' };

/** Starts an application in a separate process, on a new database. */
export async function startApplication({ store, servers, client = 'driver', storeOptions }) {
  const url = await servers.database(store);
  return ChildProcess.start(PROGRAM, { store, url, connections: CONNECTIONS, client, storeOptions });
}

/**
 * Starts two applications that differ only in the option `batching`.
 *
 * @param measure receives the processes as `{ with, without }`
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
