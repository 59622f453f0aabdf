import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { step } from './step.mjs';

const installed = 'node_modules/.package-lock.json';
const addon = 'node_modules/better-sqlite3/build/Release/better_sqlite3.node';
const compilerHint = `If better-sqlite3 is what failed: where it has no prebuilt file, compiling it takes python3, make and a C++ compiler
(Debian: apt-get install python3 make g++). Then run this again.`;

/**
 * Makes a checkout ready to run, also a fresh clone. It installs if node_modules is missing or
 * older than the lock file, and with `build` it builds if dist is missing or older than lib.
 * It needs only the modules of Node.
 */
export async function ready({ build = false } = {}) {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  if (changed(installed) < changed('package-lock.json')) await install();
  if (!existsSync(addon)) await runInstallScripts();
  if (build && changed('dist/cjs/package.json') < newest('lib')) await import('./build.mjs');
}

async function install() {
  // Not `npm ci`: it refuses a lock file in which packages for other platforms are missing.
  await npm('install', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error');
  // npm leaves the file as it was when there was nothing to do.
  utimesSync(installed, new Date(), new Date());
}

/**
 * For an npm without install scripts: better-sqlite3 and the PostgreSQL of the tests need
 * theirs.
 */
async function runInstallScripts() {
  await npm('rebuild', '--ignore-scripts=false', '--loglevel=error');
  if (existsSync(addon)) return;
  console.error(`${addon} is still missing.\n${compilerHint}`);
  process.exit(1);
}

function npm(...args) {
  const [command, ...rest] = process.platform === 'win32' ? ['cmd', '/c', 'npm', ...args] : ['npm', ...args];
  return step(`npm ${args.join(' ')}`, command, rest, compilerHint);
}

/** When a file was last changed; a missing one is older than anything. */
const changed = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;

const newest = (folder) =>
  Math.max(
    ...readdirSync(folder, { recursive: true }).map((file) => changed(join(folder, file))),
    ...['tsconfig.json', 'tsconfig.types.json', 'tsconfig.build.json', 'tsconfig.cjs.json'].map(changed),
  );
