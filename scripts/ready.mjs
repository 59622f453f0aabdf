import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { step } from './step.mjs';

const installed = 'node_modules/.package-lock.json';
const addon = 'node_modules/better-sqlite3/build/Release/better_sqlite3.node';
const compilerHint = `If better-sqlite3 is what failed: where it has no prebuilt file, compiling it takes python3, make and a C++ compiler
(Debian: apt-get install python3 make g++). Then run this again.`;

/**
 * Makes a checkout ready to run, even a fresh clone. Installs the packages if node_modules is
 * missing or older than the lock file. With `build`, it also builds if dist is missing or
 * older than lib. It needs only the modules of Node.
 */
export async function ready({ build = false } = {}) {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  if (changed(installed) < changed('package-lock.json')) await install();
  if (!existsSync(addon)) await runInstallScripts();
  if (build && changed('dist/cjs/package.json') < newest('lib')) await import('./build.mjs');
}

async function install() {
  // This is not `npm ci`, which refuses a lock file without the packages of other platforms.
  await npm('install', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error');
  // npm does not touch the file if there was nothing to install, so its time is set here.
  utimesSync(installed, new Date(), new Date());
}

/**
 * Runs the install scripts of better-sqlite3 and of the PostgreSQL for the tests, in case npm
 * is configured to run no install scripts.
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

/** Returns the time of a file's last change. A missing file counts as older than any other. */
const changed = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;

const newest = (folder) =>
  Math.max(
    ...readdirSync(folder, { recursive: true }).map((file) => changed(join(folder, file))),
    ...['tsconfig.json', 'tsconfig.types.json', 'tsconfig.build.json', 'tsconfig.cjs.json'].map(changed),
  );
