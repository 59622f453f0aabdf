import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { flags } from './flags.mjs';
import { freePort } from './free-port.mjs';
import { serverVersion } from './server-version.mjs';

const accounts = `
CREATE USER 'app'@'127.0.0.1' IDENTIFIED BY 'secret';
GRANT ALL ON *.* TO 'app'@'127.0.0.1' WITH GRANT OPTION;
CREATE DATABASE app;
`;

/**
 * Starts a server of the MySQL family on a prepared data folder, and creates a user and a
 * database.
 */
export async function launchMysql(home, command, options = {}) {
  const port = await freePort();
  const initFile = join(home.path, 'accounts.sql');
  await writeFile(initFile, accounts);
  const settings = {
    'bind-address': '127.0.0.1',
    port,
    'skip-name-resolve': true,
    'max-connections': 500,
    socket: join(home.path, 'socket'),
    'pid-file': join(home.path, 'pid'),
    'init-file': initFile,
    'innodb-buffer-pool-size': '64M',
  };
  home.launch([...command, ...flags(settings)], options);
  const url = `mysql://app:secret@127.0.0.1:${port}/app`;
  const version = await home.answer(() => serverVersion(url));
  await writeFile(initFile, ''); // A restart needs no accounts, since the data contain them.
  return { version, url };
}
