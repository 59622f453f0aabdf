import { MongoClient } from 'mongodb';
import { MongoLockStore } from 'nestjs-locked/mongodb';
import { MongoLedger } from '../mongo-ledger.mjs';
import { findVictim } from './victim.mjs';

const databaseName = `torture_${process.pid}`;
const clientOptions = {
  serverSelectionTimeoutMS: 2_000,
  connectTimeoutMS: 1_500,
  heartbeatFrequencyMS: 1_000,
  minHeartbeatFrequencyMS: 100,
  maxPoolSize: 6,
};

/**
 * Opens MongoDB for torture: a replica set with one member, which faults kill or let step
 * down.
 */
export async function openMongodb() {
  const server = await findVictim('mongodb');
  const [, host, port = '27017'] = /@?([^/@,:]+)(?::(\d+))?(?:,|\/|$)/.exec(
    server.url.slice('mongodb://'.length),
  );
  const admin = new MongoClient(server.url, { appName: 'torturer', serverSelectionTimeoutMS: 10_000 });
  const db = admin.db(databaseName);
  const ask = (command) => admin.db('admin').command(command);
  const system = {
    name: 'mongodb',
    version: server.version,
    target: { host, port: Number(port) },
    ledger: new MongoLedger(db),
    locks: new MongoLockStore(db.collection('locks')),
    workerSettings: (name, proxyPort) => ({
      database: 'mongodb',
      url: `mongodb://127.0.0.1:${proxyPort}/?directConnection=true`,
      clientOptions: { ...clientOptions, appName: name },
      databaseName,
    }),
    crash: server.crash,
    restart: server.restart,
    /**
     * Lets the server step down for a second, or close the connections of some of the next
     * commands.
     */
    disturb:
      server.crash &&
      (async (random, probability) => {
        if (random.chance(0.3))
          return ask({ replSetStepDown: 1, secondaryCatchUpPeriodSecs: 0, force: true }).catch(
            unlessNoPrimary,
          );
        return ask({
          configureFailPoint: 'failCommand',
          mode: { times: Math.ceil(20 * probability) },
          data: { failCommands: ['find', 'findAndModify', 'update'], closeConnection: true },
        });
      }),
    async close() {
      // The database cannot be dropped if the run has failed while the server was down.
      await db.dropDatabase().catch(() => {});
      await admin.close();
      await server.stop();
    },
  };
  try {
    await admin.connect();
    // The collections are created before the workers start, because mongod under Wine crashes
    // when two processes create the same collection at once.
    await db.createCollection('locks');
    await db.createCollection('ledgers');
    await system.locks.prepare();
    return system;
  } catch (error) {
    await system.close();
    throw error;
  }
}

/**
 * Ignores the error that the server is no primary, since it may have stepped down a moment
 * ago.
 */
function unlessNoPrimary(error) {
  if (error.codeName !== 'NotWritablePrimary') throw error;
}
