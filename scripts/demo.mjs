// npm run demo, from a fresh clone too: installs, builds, and lets three instances of sample/01-cron-sqlite compete for one job.
// npm run demo -- --record FILE also saves what the screen showed; scripts/demo/svg.mjs makes a picture of the recording.
import { parseArgs } from 'node:util';
import { ready } from './ready.mjs';
import { step } from './step.mjs';

const { values } = parseArgs({ options: { record: { type: 'string' } } });

if (process.platform === 'win32') {
  console.error(
    'The demo freezes processes with SIGSTOP, which Windows does not have. Run it on Linux or macOS, or in WSL.',
  );
  process.exit(1);
}

await ready({ build: true });
await step('compile sample/01-cron-sqlite', process.execPath, [
  'node_modules/typescript/bin/tsc',
  ...['-p', 'sample/01-cron-sqlite'],
]);

// Imported only now, since it needs packages that a fresh clone did not have before.
const { runDemo } = await import('./demo/run-demo.mjs');
process.exitCode = await runDemo({ recordTo: values.record });
