// npm run ticks, from a fresh clone too: six instances with clocks up to 90 s off run a job once per tick, on four databases side by side.
// npm run ticks -- --store postgres,mongodb --ticks 10
// npm run ticks -- --plain [--seconds 60]: three processes with plain @Cron() @Locked()
import { ready } from './ready.mjs';

if (process.platform !== 'linux' && !process.argv.includes('--plain')) {
  console.error('The clocks of processes are set with libfaketime, which this runs on Linux only.');
  process.exit(1);
}

await ready({ build: true });
// Imported only now, since it needs packages that a fresh clone did not have before.
await import('../test/ticks/main.mjs');
