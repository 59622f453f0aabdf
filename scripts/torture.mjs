// npm run torture, from a fresh clone too: eight processes compete for three locks while processes, connections and the database fail.
// npm run torture -- --store postgres,sqlite --minutes 10 --seed 7 --out DIR
// npm run torture -- --callers 200                     also lets 200 callers in each process acquire different keys; by default 30.
// npm run torture -- --smoke                           plays each fault once, like npm test.
// npm run torture -- --planted BUG --seconds 20        plants a bug, and fails as soon as it finds the bug.
import { ready } from './ready.mjs';

if (process.platform === 'win32') {
  console.error(
    'Torture freezes processes with SIGSTOP, which Windows does not have. Run it on Linux or macOS, or in WSL.',
  );
  process.exit(1);
}

await ready({ build: true });
// Imported only now, since it needs packages that a fresh clone did not have before.
await import('../test/torture/cli.mjs');
