import { join } from 'node:path';
import { commandIn, debianPackage } from './debian-packages.mjs';
import { flags } from './flags.mjs';
import { launchMysql } from './mysql-launch.mjs';
import { startServer } from './server-home.mjs';

/** Starts a current MySQL from Debian's unstable suite, the only suite that has it. */
export const start = () =>
  startServer('mysql', async (home) => {
    const root = await home.readable(await debianPackage('sid', 'mysql-server-core'));
    const settings = {
      basedir: join(root, 'usr'),
      datadir: join(home.path, 'data'),
      'lc-messages-dir': join(root, 'usr/share/mysql'),
      'character-sets-dir': join(root, 'usr/share/mysql/charsets'),
      'plugin-dir': join(root, 'usr/lib/mysql/plugin'),
      'secure-file-priv': 'NULL',
      'skip-log-bin': true,
      mysqlx: 'OFF',
    };
    const command = [...commandIn(root, 'usr/sbin/mysqld'), '--no-defaults', ...flags(settings)];
    await home.run([...command, '--initialize-insecure']);
    return launchMysql(home, command);
  });
