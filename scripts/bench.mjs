// npm run bench, from a fresh clone too: measures the goals of the library on private servers; bench/README.md tells more.
// npm run bench -- --quick --only P1,P8 --store postgres,mariadb,sqlite,mongodb --peers --out DIR
import { statSync, utimesSync } from 'node:fs';
import { readArguments } from '../bench/arguments.mjs';
import { ready } from './ready.mjs';
import { step } from './step.mjs';

const installed = 'bench/node_modules/.package-lock.json';

readArguments(process.argv.slice(2)); // before anything is installed: it may be a wrong one, or --help
await ready({ build: true });
if (changed(installed) < changed('bench/package-lock.json')) {
  const options = ['--no-audit', '--no-fund', '--loglevel=error'];
  await step('npm install --prefix bench', 'npm', ['install', '--prefix', 'bench', ...options]);
  // npm leaves the file as it was when there was nothing to do.
  utimesSync(installed, new Date(), new Date());
}
await import('../bench/cli.mjs'); // only now: it imports packages, which a fresh clone did not have before

/** When a file was last changed; a missing one is older than anything. */
function changed(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}
