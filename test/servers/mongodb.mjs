import { initiateReplicaSet, launchMongod } from './mongod-launch.mjs';
import { startServer } from './server-home.mjs';

/**
 * `pid` is the process id of mongod, not of the guard that started it.
 *
 * @typedef {{
 *   readonly name: string,
 *   readonly version: string,
 *   readonly url: string,
 *   readonly pid: number,
 *   stop(): Promise<void>,
 * }} MongodbServer
 */

/**
 * Starts MongoDB as a replica set of one member, since transactions need a replica set.
 *
 * @returns {Promise<MongodbServer>}
 */
export const start = () =>
  startServer('mongodb', async (home) => {
    const member = await launchMongod(home, { replSet: 'rs0' });
    return { version: member.version, url: await initiateReplicaSet('rs0', [member]) };
  });

/**
 * Starts a MongoDB without a replica set, which refuses transactions.
 *
 * @returns {Promise<MongodbServer>}
 */
export const startStandalone = () => startServer('mongodb', (home) => launchMongod(home));
