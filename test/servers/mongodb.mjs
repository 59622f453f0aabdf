import { launchMongod, runCommand } from './mongod-launch.mjs';
import { startServer } from './server-home.mjs';

/** MongoDB as a replica set of one member: transactions and change streams need a set. */
export const start = () =>
  startServer('mongodb', async (home) => {
    const { host, url: member, version } = await launchMongod(home, { replSet: 'rs0' });
    await runCommand(member, { replSetInitiate: { _id: 'rs0', members: [{ _id: 0, host }] } });
    await home.answer(async () => {
      const { isWritablePrimary } = await runCommand(member, { hello: 1 });
      if (!isWritablePrimary) throw new Error('it is not the primary yet');
    });
    return { version, url: `mongodb://${host}/?replicaSet=rs0` };
  });
