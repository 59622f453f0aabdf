// npm run bench, from a fresh clone too: measures the goals of the library on private servers; bench/README.md tells more.
// npm run bench -- --quick --only P1,P8 --store postgres,mariadb,sqlite,mongodb --peers --out DIR
import { statSync, utimesSync } from 'node:fs';
import { readArguments } from '../bench/arguments.mjs';
import { ready } from './ready.mjs';
import { step } from './step.mjs';

const installed = 'bench/node_modules/.package-lock.json';

// Before the installation, since the command line may be wrong, or ask for --help.
readArguments(process.argv.slice(2));
await ready({ build: true });
if (changed(installed) < changed('bench/package-lock.json')) {
  const options = ['--no-audit', '--no-fund', '--loglevel=error'];
  await step('npm install --prefix bench', 'npm', ['install', '--prefix', 'bench', ...options]);
  // npm leaves the file as it was when there was nothing to do.
  utimesSync(installed, new Date(), new Date());
}
// Imported only now, since it needs packages that a fresh clone did not have before.
await import('../bench/cli.mjs');

/** When a file was last changed; a missing one is older than anything. */
function changed(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}
