// The program of `npm run ticks` after installation and build.
import { parseArgs } from 'node:util';
import { serverOf } from '../servers/stores.mjs';
import { plainRounds } from './plain-rounds.mjs';
import { runTicks } from './ticks.mjs';

const SHIFTS = [-90, -54, -18, 18, 54, 90];
const EVERY = 5;

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'postgres,mysql,mariadb,mongodb' },
    ticks: { type: 'string', default: '20' },
    plain: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '60' },
  },
});
if (values.plain) {
  process.exitCode = (await plainRounds(Number(values.seconds))) ? 0 : 1;
  process.exit();
}
const stores = values.store.split(',');
const ticks = Number(values.ticks);

const rounds = {
  'six clocks': {},
  'the one that is ahead is killed, and a clock jumps': {
    kill: Math.ceil(ticks / 3),
    jump: { after: Math.ceil(ticks / 2), from: -54, to: 10 },
  },
};

console.log(`Six instances, their clocks off by ${SHIFTS.join(', ')} s; ticks every ${EVERY} s.`);
const servers = await Promise.all(stores.map((store) => serverOf(store).start()));
let failed = false;
try {
  for (const [round, faults] of Object.entries(rounds)) {
    console.log(`\n${round}: about ${Math.round((ticks * EVERY + 180) / 60)} minutes`);
    const tellRuns = progress();
    const results = await Promise.all(
      servers.map(({ url }, i) =>
        runTicks(url, {
          shifts: SHIFTS,
          every: EVERY,
          ticks,
          ...faults,
          onRun: (run) => tellRuns(stores[i], run),
        }),
      ),
    );
    for (const [i, { once, twice, missing, by }] of results.entries()) {
      const good = once === ticks;
      failed ||= !good;
      const runners = Object.entries(by).map(([shift, count]) => `${count} by the clock at ${shift} s`);
      console.log(
        `${good ? 'passed' : 'FAILED'}  ${stores[i].padEnd(9)} ${servers[i].version}: ${once} of ${ticks} ticks ran once (${runners.join(', ')}), twice ${twice.length}, never ${missing.length}`,
      );
      for (const tick of [...twice, ...missing]) console.log(`        ${tick}`);
    }
  }
} finally {
  await Promise.all(servers.map((server) => server.stop()));
}
process.exitCode = failed ? 1 : 0;

/**
 * Returns a function that counts a run of a store. Every ten seconds, it prints the numbers of
 * runs.
 */
function progress() {
  const counts = Object.fromEntries(stores.map((store) => [store, 0]));
  const began = Date.now();
  let told = 0;
  return (store) => {
    counts[store]++;
    if (Date.now() - told < 10_000) return;
    told = Date.now();
    const seconds = Math.round((told - began) / 1_000);
    console.log(`  ${seconds} s: ${stores.map((name) => `${name} ${counts[name]}`).join(', ')} runs`);
  };
}
