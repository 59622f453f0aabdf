import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { cachedFolder } from './cache-folder.mjs';
import { execute } from './execute.mjs';

const architectures = {
  x64: { triplet: 'x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' },
  arm64: { triplet: 'aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' },
};
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

export function hasDebianPackages() {
  return existsSync(keyring) && Object.hasOwn(architectures, process.arch);
}

/**
 * Unpacks a Debian package and all that it depends on, down to the C library, into a folder.
 * Thus the server of any suite runs on any Debian without root, and the system stays
 * unchanged.
 */
export function debianPackage(suite, name) {
  return cachedFolder(`${suite}-${name}`, (folder) => unpackDebianPackage(suite, name, folder));
}

/**
 * Unpacks a Debian package and all that it depends on into an empty folder of the caller,
 * outside of the cache.
 */
export async function unpackDebianPackage(suite, name, folder) {
  const apt = join(folder, 'apt');
  await download(suite, name, apt);
  const archives = join(apt, 'var/cache/apt/archives');
  const packages = (await readdir(archives)).filter((file) => file.endsWith('.deb'));
  for (const file of packages) await execute(['dpkg-deb', '-x', join(archives, file), folder]);
  await rm(apt, { recursive: true });
}

/**
 * The command that runs an unpacked program with the unpacked libraries instead of the
 * system's.
 */
export function commandIn(folder, program) {
  const { triplet, loader } = architectures[process.arch];
  const system = [join(folder, 'usr/lib', triplet), join(folder, 'lib', triplet)];
  const libraries = [...system, join(system[0], 'mysql/private'), join(folder, 'usr/lib/mysql/private')];
  const dynamicLinker = system.map((path) => join(path, loader)).find((path) => existsSync(path));
  return [dynamicLinker, '--library-path', libraries.join(':'), join(folder, program)];
}

/**
 * Downloads the package and all that it depends on. Apt gets folders of its own, in which
 * nothing counts as installed, since it would skip installed packages.
 */
async function download(suite, name, apt) {
  for (const path of [
    'etc/apt/sources.list.d',
    'var/lib/apt/lists/partial',
    'var/cache/apt/archives/partial',
  ])
    await mkdir(join(apt, path), { recursive: true });
  const status = join(apt, 'status');
  await writeFile(status, '');
  const source = {
    Types: 'deb',
    URIs: await mirror(),
    Suites: suite,
    Components: 'main',
    'Signed-By': keyring,
  };
  const lines = Object.entries(source).map(([field, value]) => `${field}: ${value}\n`);
  await writeFile(join(apt, 'etc/apt/sources.list.d/suite.sources'), lines.join(''));

  const options = {
    Dir: apt,
    'Dir::State::status': status,
    'APT::Install-Recommends': false,
    'APT::Sandbox::User': userInfo().username,
    'Acquire::Languages': 'none',
    'Acquire::Retries': 3,
    'Acquire::http::Timeout': 30,
  };
  const command = [
    'apt-get',
    '-qq',
    ...Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]),
  ];
  await execute([...command, 'update']);
  await execute([...command, '--download-only', '-y', 'install', name]);
}

/** Returns the Debian mirror that this machine uses. */
async function mirror() {
  if (!hasDebianPackages())
    throw new Error("its packages are Debian's, which this system is not (or it is neither x64 nor arm64)");
  const sources = ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list'].filter((path) =>
    existsSync(path),
  );
  for (const path of sources) {
    const uri = /^(?:URIs:|deb\s+(?:\[.*?\])?)\s*(\S+)/m.exec(await readFile(path, 'utf8'));
    if (uri) return uri[1];
  }
  throw new Error('no Debian mirror is named in /etc/apt');
}
