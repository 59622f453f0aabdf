// Each experiment puts the library into a situation for which it makes no promise, and shows
// what then still holds and what does not. It fails if its results are not as expected.
//
// npm run experiments -- clock-jumps      the clock of a database jumps by an hour; clocks of clients are wrong.
// npm run experiments -- galera           callers lock on all three nodes of a cluster at once, and a node is killed.
// npm run experiments -- fail-over        a PostgreSQL standby is promoted before it has received all changes.
// npm run experiments -- switchover       a writer turns read-only while eight processes use it.
// npm run experiments -- notify           the cost of NOTIFY on PostgreSQL, with up to 1,000 listeners and beside triggers with NOTIFY.
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
