import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { commandIn, debianPackage } from './debian-packages.mjs';
import { flags } from './flags.mjs';
import { installed } from './installed-program.mjs';
import { launchMysql } from './mysql-launch.mjs';
import { startServer } from './server-home.mjs';

/**
 * Starts MariaDB: the installed server, or else version 10.11 from Debian 12.
 *
 * @param {Record<string, string | number | boolean>} settings
 * @returns {Promise<{
 *   readonly url: string,
 *   readonly version: string,
 *   stop(): Promise<void>,
 * }>}
 */
export const start = (settings = {}) =>
  startServer('mariadb', async (home) => {
    const datadir = `--datadir=${join(home.path, 'data')}`;
    const command =
      installed('mariadbd') && installed('mariadb-install-db')
        ? await prepareInstalled(home, datadir)
        : await prepareUnpacked(home, datadir);
    return launchMysql(home, [...command, ...flags(settings)]);
  });

async function prepareInstalled(home, datadir) {
  const options = ['--auth-root-authentication-method=normal', '--skip-test-db'];
  await home.run([installed('mariadb-install-db'), '--no-defaults', datadir, ...options]);
  return [installed('mariadbd'), '--no-defaults', datadir];
}

const systemTables = [
  'mysql_system_tables',
  'mysql_performance_tables',
  'mysql_system_tables_data',
  'fill_help_tables',
  'maria_add_gis_sp_bootstrap',
  'mysql_sys_schema',
];

/** The command that runs MariaDB on a data folder that was prepared elsewhere. */
export async function mariadbCommand(home) {
  const own = installed('mariadbd');
  return own ? [own, '--no-defaults'] : unpackedCommand(await unpackedRoot(home));
}

const unpackedRoot = async (home) => home.readable(await debianPackage('bookworm', 'mariadb-server-core'));

function unpackedCommand(root) {
  const share = join(root, 'usr/share/mysql');
  const settings = {
    basedir: join(root, 'usr'),
    'lc-messages-dir': share,
    'character-sets-dir': join(share, 'charsets'),
    'plugin-dir': join(root, 'usr/lib/mysql/plugin'),
  };
  return [...commandIn(root, 'usr/sbin/mariadbd'), '--no-defaults', ...flags(settings)];
}

/**
 * Does the work of mariadb-install-db, which fails here because it looks for its programs and
 * files in fixed places only.
 */
async function prepareUnpacked(home, datadir) {
  const root = await unpackedRoot(home);
  const share = join(root, 'usr/share/mysql');
  const command = [...unpackedCommand(root), datadir];
  const scripts = await Promise.all(systemTables.map((name) => readFile(join(share, `${name}.sql`), 'utf8')));
  const preamble = ['CREATE DATABASE mysql;', 'USE mysql;', 'SET @auth_root_socket = NULL;'];
  const stdin = join(home.path, 'system-tables.sql');
  await writeFile(stdin, [...preamble, ...scripts].join('\n'));
  await home.run(['mkdir', 'data']);
  await home.run([...command, '--bootstrap'], { stdin });
  return command;
}
