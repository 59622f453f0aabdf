// npm run bench, from a fresh clone too: measures the goals of the library on private servers; bench/README.md tells more.
// npm run bench -- --quick --only P1,P8 --store postgres,mariadb,sqlite,mongodb --peers --out DIR
import { existsSync } from 'node:fs';
import { ready } from './ready.mjs';
import { step } from './step.mjs';

await ready({ build: true });
if (existsSync('bench/package.json') && !existsSync('bench/node_modules'))
  await step('npm install in bench', 'npm', [
    'install',
    '--prefix',
    'bench',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
await import('../bench/cli.mjs'); // only now: it imports packages, which a fresh clone did not have before
