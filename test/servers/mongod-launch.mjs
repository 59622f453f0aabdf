import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import { flags } from './flags.mjs';
import { freePort } from './free-port.mjs';
import { mongodProgram } from './mongod-program.mjs';

const parameters = {
  // Turns off the collection of performance counters: Wine has none, and mongod would crash.
  diagnosticDataCollectionEnabled: false,
  enableTestCommands: 1, // Test commands allow tests to set failpoints.
  ttlMonitorSleepSecs: 1,
};

/**
 * Starts a mongod, either alone or as a member of a replica set that is initiated later. The
 * URL leads to this mongod, even if another member is the primary.
 */
export async function launchMongod(home, options = {}) {
  const { command, env, path } = await mongodProgram(home);
  await home.run(['mkdir', 'data']);
  const port = await freePort();
  const settings = {
    bind_ip: '127.0.0.1',
    port,
    dbpath: path(join(home.path, 'data')),
    wiredTigerCacheSizeGB: 0.25,
    ...options,
  };
  const set = Object.entries(parameters).map(([name, value]) => `--setParameter=${name}=${value}`);
  home.launch([...command, ...flags(settings), ...set], { env });
  const url = `mongodb://127.0.0.1:${port}/?directConnection=true`;
  const { version } = await home.answer(() => runCommand(url, { buildInfo: 1 }));
  return { host: `127.0.0.1:${port}`, url, version };
}

/** Runs one command on the server behind a URL. */
export async function runCommand(url, command, { patienceMs = 5000 } = {}) {
  const client = new MongoClient(url, {
    serverSelectionTimeoutMS: patienceMs,
    socketTimeoutMS: patienceMs,
    // Reaches a starting server soon; the driver's default is 500 ms.
    minHeartbeatFrequencyMS: 50,
  });
  try {
    return await client.db('admin').command(command);
  } finally {
    await client.close();
  }
}

/**
 * Makes a replica set of mongods that run already, and waits until all of them are in service.
 */
export async function initiateReplicaSet(name, members, settings = {}) {
  const config = { _id: name, settings, members: members.map(({ host }, _id) => ({ _id, host })) };
  await runCommand(members[0].url, { replSetInitiate: config });
  for (const { url } of members) await untilInService(url);
  const hosts = members.map(({ host }) => host);
  return `mongodb://${hosts.join(',')}/?replicaSet=${name}`;
}

async function untilInService(url) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { isWritablePrimary, secondary, primary } = await runCommand(url, { hello: 1 });
    if (primary && (isWritablePrimary || secondary)) return;
    if (Date.now() > deadline) throw new Error('the replica set is not in service after 60 s');
    await sleep(50);
  }
}
