import { initiateReplicaSet, launchMongod } from './mongod-launch.mjs';
import { startServer } from './server-home.mjs';

/** MongoDB as a replica set of one member: it takes a set for transactions and change streams. */
export const start = () =>
  startServer('mongodb', async (home) => {
    const member = await launchMongod(home, { replSet: 'rs0' });
    return { version: member.version, url: await initiateReplicaSet('rs0', [member]) };
  });

/** One without a replica set, which refuses transactions. */
export const startStandalone = () => startServer('mongodb', (home) => launchMongod(home));
