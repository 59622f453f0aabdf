// Each experiment shows what still holds where the library makes no promise, and what does
// not. It fails when its result differs from the expected result.
//
// npm run experiments -- clock-jumps      the clock of a database jumps by an hour; clocks of clients are wrong.
// npm run experiments -- galera           callers lock on all three nodes of a cluster at once, and a node is killed.
// npm run experiments -- fail-over        a PostgreSQL standby is promoted that has not received all changes.
// npm run experiments -- switchover       a writer turns read-only under eight processes.
// npm run experiments -- notify           the cost of NOTIFY on PostgreSQL, with up to 1,000 listeners and beside triggers.
import { ready } from '../scripts/ready.mjs';

const EXPERIMENTS = ['clock-jumps', 'galera', 'fail-over', 'switchover', 'notify'];

const [name, ...options] = process.argv.slice(2);
if (!EXPERIMENTS.includes(name)) {
  console.error(`Name one of the experiments: npm run experiments -- ${EXPERIMENTS.join(' | ')}`);
  process.exit(2);
}
if (process.platform !== 'linux') {
  console.error('The experiments freeze, fool and kill servers in ways that only Linux has.');
  process.exit(1);
}

await ready({ build: true });
// Imported only now, since it needs packages that a fresh clone did not have before.
const { run } = await import(`./experiments/${name}.mjs`);
process.exitCode = await run(options);
