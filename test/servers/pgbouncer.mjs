import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { commandIn, debianPackage } from './debian-packages.mjs';
import { freePort } from './free-port.mjs';
import { installed } from './installed-program.mjs';
import { startServer } from './server-home.mjs';
import { serverVersion } from './server-version.mjs';

/**
 * A PgBouncer that runs. `url` leads to the database that was given to `startPgBouncer`; the
 * server's other databases can be reached as well. `crash` ends the process at once; `restart`
 * keeps the port, and resolves when PgBouncer answers again.
 *
 * @typedef {{
 *   readonly url: string,
 *   readonly version: string,
 *   crash(): Promise<void>,
 *   restart(): Promise<void>,
 *   stop(): Promise<void>,
 * }} PgBouncer
 */

/**
 * Starts PgBouncer in front of a PostgreSQL: the installed program, or else that of Debian 12.
 * Each transaction gets any free session of the server. With `poolMode: 'statement'`, each
 * statement does.
 *
 * @param {{
 *   host: string,
 *   port: number,
 *   username: string,
 *   password: string,
 *   database: string,
 * }} server
 * @param {{ poolSize?: number, poolMode?: 'transaction' | 'statement' }} options
 * @returns {Promise<PgBouncer>}
 */
export const startPgBouncer = (server, { poolSize = 3, poolMode = 'transaction' } = {}) =>
  startServer('pgbouncer', async (home) => {
    const own = installed('pgbouncer');
    const command = own ? [own] : await unpacked(home);
    const version = await versionOf(command);
    const { host, port: serverPort, username, password, database } = server;
    const port = await freePort();
    const users = join(home.path, 'users');
    await writeFile(users, `${quoted(username)} ${quoted(password)}\n`);
    const settings = {
      listen_addr: '127.0.0.1',
      listen_port: port,
      unix_socket_dir: '',
      auth_type: 'scram-sha-256',
      auth_file: users,
      pool_mode: poolMode,
      default_pool_size: poolSize,
      max_client_conn: 500,
      // PgBouncer then loses prepared statements, as all versions before 1.21 do.
      ...(keepsStatements(version) && { max_prepared_statements: 0 }),
    };
    const config = join(home.path, 'pgbouncer.ini');
    const sections = [
      '[databases]',
      `* = host=${host} port=${serverPort}`,
      '[pgbouncer]',
      ...lines(settings),
    ];
    await writeFile(config, `${sections.join('\n')}\n`);
    home.launch([...command, config]);

    const user = `${encodeURIComponent(username)}:${encodeURIComponent(password)}`;
    const url = `postgres://${user}@127.0.0.1:${port}/${database}`;
    await home.answer(() => serverVersion(url));
    return { version, url };
  });

async function unpacked(home) {
  const root = await home.readable(await debianPackage('bookworm', 'pgbouncer'));
  return commandIn(root, 'usr/sbin/pgbouncer');
}

async function versionOf([program, ...options]) {
  const { stdout } = await promisify(execFile)(program, [...options, '--version']);
  return /PgBouncer (\S+)/.exec(stdout)?.[1] ?? 'of unknown version';
}

/**
 * Whether this version can keep prepared statements, under names of its own: PgBouncer can
 * from 1.21 on.
 */
const keepsStatements = (version) => {
  const [major, minor] = version.split('.').map(Number);
  return major > 1 || minor >= 21;
};

const lines = (settings) => Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
