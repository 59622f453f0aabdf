import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { flags } from './flags.mjs';
import { freePort } from './free-port.mjs';
import { mongodProgram } from './mongod-program.mjs';
import { serverVersion } from './server-version.mjs';

const parameters = {
  diagnosticDataCollectionEnabled: false, // Wine has no such counters: mongod crashes
  enableTestCommands: 1, // failpoints
  ttlMonitorSleepSecs: 1,
};

/** Starts a mongod, by itself or as a member of a replica set that is to be initiated. The URL leads to it alone. */
export async function launchMongod(home, options = {}) {
  const port = await freePort();
  const { command, env, path } = await mongodProgram(home);
  await home.run(['mkdir', 'data']);
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
  return { host: `127.0.0.1:${port}`, url, version: await home.answer(() => serverVersion(url)) };
}

/** Asks the server behind a URL for one thing. */
export async function runCommand(url, command) {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 5000 });
  try {
    return await client.db('admin').command(command);
  } finally {
    await client.close();
  }
}
