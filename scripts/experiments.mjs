// npm run experiments -- clock-jumps      what a database's clock that jumps by an hour does to locks, and clients whose clocks are wrong
// npm run experiments -- galera           locks taken on all three nodes of a cluster at once, one of which is killed
// npm run experiments -- fail-over        a PostgreSQL standby is promoted that has not received everything
// npm run experiments -- switchover       a writer turns read-only under eight processes
// npm run experiments -- notify           what NOTIFY costs on PostgreSQL, with up to 1,000 sessions that listen and beside triggers that notify
// Each shows what holds beyond what the library promises, and what does not; it fails when something else is found than is expected.
import { ready } from './ready.mjs';

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
const { run } = await import(`../test/experiments/${name}.mjs`); // only now: it imports packages, which a fresh clone did not have before
process.exitCode = await run(options);
