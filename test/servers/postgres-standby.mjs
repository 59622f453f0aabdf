import { join } from 'node:path';
import { Client } from 'pg';
import { flags } from './flags.mjs';
import { freePort } from './free-port.mjs';
import { binaries } from './postgres.mjs';
import { startServer } from './server-home.mjs';
import { serverVersion } from './server-version.mjs';

/**
 * Starts a PostgreSQL standby that follows `primary` (made by `start` of postgres.mjs) with
 * asynchronous replication. The primary stops for a moment to be copied, because the binaries
 * of the tests have no pg_basebackup.
 */
export const startStandby = (primary) =>
  startServer('postgres', async (home) => {
    const native = await home.readable(binaries());
    const origin = await dataDirectory(primary.url);
    const data = join(home.path, 'data');
    await primary.crash();
    await home.run(['cp', '-RP', origin, data]);
    await home.run(['rm', '-f', join(data, 'postmaster.pid')]);
    await home.run(['touch', join(data, 'standby.signal')]);
    await primary.restart();

    const { hostname, port: primaryPort, username, password, pathname } = new URL(primary.url);
    const port = await freePort();
    const settings = {
      listen_addresses: '127.0.0.1',
      port,
      unix_socket_directories: home.path,
      max_connections: 500,
      primary_conninfo: `host=${hostname} port=${primaryPort} user=${username} password=${password}`,
    };
    home.launch([join(native, 'bin/postgres'), '-D', data, ...flags(settings)], { stopSignal: 'SIGQUIT' });
    const url = `postgres://${username}:${password}@127.0.0.1:${port}${pathname}`;
    return { url, version: await home.answer(() => serverVersion(url)) };
  });

async function dataDirectory(url) {
  const client = new Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query('SHOW data_directory');
  await client.end();
  return rows[0].data_directory;
}
