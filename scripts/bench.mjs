// npm run bench, from a fresh clone too: measures the goals of the library on private servers; bench/README.md explains them.
// npm run bench -- --quick --only P1,P8 --store postgres,mariadb,sqlite,mongodb --peers --out DIR
import { statSync, utimesSync } from 'node:fs';
import { readArguments } from '../bench/arguments.mjs';
import { ready } from './ready.mjs';
import { step } from './step.mjs';

const installed = 'bench/node_modules/.package-lock.json';

// The arguments are read before the installation, which a wrong command line or --help does
// not need.
readArguments(process.argv.slice(2));
await ready({ build: true });
if (changed(installed) < changed('bench/package-lock.json')) {
  const options = ['--no-audit', '--no-fund', '--loglevel=error'];
  await step('npm install --prefix bench', 'npm', ['install', '--prefix', 'bench', ...options]);
  // npm does not touch the file if there was nothing to install, so its time is set here.
  utimesSync(installed, new Date(), new Date());
}
// Imported only now, since it needs packages that a fresh clone did not have before.
await import('../bench/cli.mjs');

/** Returns the time of a file's last change. A missing file counts as older than any other. */
function changed(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}
