// npm run torture: eight processes compete for three locks while processes, links and the database are made to fail, store after store.
// npm run torture -- --store postgres,sqlite --minutes 10 --seed 7 --out DIR; --smoke for a few seconds each; --planted BUG --seconds 20 to see it found.
import { parseArgs } from 'node:util';
import { ready } from './ready.mjs';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'postgres,mariadb,sqlite,mongodb' },
    minutes: { type: 'string' },
    seconds: { type: 'string' },
    smoke: { type: 'boolean', default: false },
    seed: { type: 'string' },
    planted: { type: 'string' },
    out: { type: 'string', default: 'torture-results' },
  },
});

if (process.platform === 'win32') {
  console.error(
    'Torture freezes processes with SIGSTOP, which Windows does not have. Run it on Linux or macOS, or in WSL.',
  );
  process.exit(1);
}
await ready({ build: true });

// Only now: it imports packages, which a fresh clone did not have before.
const { main } = await import('../test/torture/main.mjs');
const seconds = values.seconds
  ? Number(values.seconds)
  : values.minutes
    ? 60 * Number(values.minutes)
    : values.smoke
      ? 8
      : 60;
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed);
console.log(`seed ${seed}`);
process.exitCode = await main({
  stores: values.store.split(','),
  seconds,
  seed,
  short: values.smoke || values.planted !== undefined,
  bug: values.planted,
  out: values.out,
  command: ['npm run torture --', ...process.argv.slice(2)].join(' '),
});
