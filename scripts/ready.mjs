import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { step } from './step.mjs';

const installed = 'node_modules/.package-lock.json';
const nativeAddon = 'node_modules/better-sqlite3/build/Release/better_sqlite3.node';

/**
 * Makes a checkout ready to run, also a fresh clone: installs when node_modules is missing or older than the lock file,
 * and builds, when asked to, if dist is missing or older than lib. Node's builtins are all it needs itself.
 */
export async function ready({ build = false } = {}) {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  if (changed(installed) < changed('package-lock.json')) await install();
  if (!existsSync(nativeAddon)) await compileAddon();
  if (build && changed('dist/cjs/package.json') < newest('lib')) await import('./build.mjs');
}

async function install() {
  // Not `npm ci`: it refuses a lock file in which packages for other platforms are missing.
  await npm('install', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error');
  // npm leaves the file as it was when there was nothing to do.
  utimesSync(installed, new Date(), new Date());
}

async function compileAddon() {
  await npm('rebuild', 'better-sqlite3');
  if (existsSync(nativeAddon)) return;
  console.error(
    'better-sqlite3 has no compiled addon. Compiling it takes python3, make and a C++ compiler ' +
      '(Debian: apt-get install python3 make g++); then run this again.',
  );
  process.exit(1);
}

const npm = (...args) =>
  process.platform === 'win32'
    ? step(`npm ${args.join(' ')}`, 'cmd', ['/c', 'npm', ...args])
    : step(`npm ${args.join(' ')}`, 'npm', args);

/** When a file was last changed; a missing one has always been there to be replaced. */
const changed = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;

const newest = (folder) =>
  Math.max(
    ...readdirSync(folder, { recursive: true }).map((file) => changed(join(folder, file))),
    ...['tsconfig.json', 'tsconfig.build.json', 'tsconfig.cjs.json'].map(changed),
  );
