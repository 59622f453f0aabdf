// The program of `npm run torture`, which needs an installation and a build. Eight processes
// compete for three locks while processes, links and the database fail.
import { parseArgs } from 'node:util';
import { main } from './main.mjs';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'postgres,mariadb,sqlite,mongodb' },
    minutes: { type: 'string' },
    seconds: { type: 'string' },
    callers: { type: 'string' },
    smoke: { type: 'boolean', default: false },
    seed: { type: 'string' },
    planted: { type: 'string' },
    out: { type: 'string', default: 'torture-results' },
  },
});

const { smoke, planted, minutes, seconds = minutes === undefined ? 60 : 60 * Number(minutes) } = values;
// A planted bug is found without crowds, by the eight processes that compete for three locks.
const callers = Number(values.callers ?? (planted === undefined ? 30 : 0));
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed);
console.log(`seed ${seed}`);
const exitCode = await main({
  stores: values.store.split(','),
  seconds: Number(seconds),
  seed,
  callers,
  ...(smoke && { rounds: 1 }),
  short: smoke || planted !== undefined,
  bug: planted,
  out: values.out,
  command: ['npm run torture --', ...process.argv.slice(2)].join(' '),
});
// An explicit exit is needed, because Node 20 sometimes spins at its natural exit, waiting for
// the handle of an ended process.
process.exit(exitCode);
