// npm run torture, from a fresh clone too: eight processes compete for three locks while processes, links and the database are made to fail.
// npm run torture -- --store postgres,sqlite --minutes 10 --seed 7 --out DIR
// npm run torture -- --callers 200                     besides, so many callers of each process want different keys at once; 30 unless it is given
// npm run torture -- --smoke                           each fault once; a part of npm test
// npm run torture -- --planted BUG --seconds 20        fails when it has found the bug
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
