// npm test, from a fresh clone too: installs, builds, checks all types, and runs the specs.
// npm run test:faults: runs the specs of faults (test-runs.mjs), and checks no types.
// Arguments go to jest. A spec that is named runs in either case: npm test -- lock-key.spec
import { existsSync, readdirSync } from 'node:fs';
import { ready } from './ready.mjs';
import { readySample } from './sample-packages.mjs';
import { step } from './step.mjs';

await ready({ build: true });

const faults = process.argv[2] === '--faults';
if (!faults) await checkTypes();

const args = process.argv.slice(faults ? 3 : 2);
const named = args.some((arg) => !arg.startsWith('-'));
if (!named) process.env.LOCK_TEST_RUN = faults ? 'faults' : 'fast';
await step(faults ? 'specs of faults' : 'specs', process.execPath, [
  '--experimental-vm-modules',
  '--disable-warning=ExperimentalWarning',
  'node_modules/jest/bin/jest.js',
  ...args,
]);

async function checkTypes() {
  const tsc = (project) => [process.execPath, ['node_modules/typescript/bin/tsc', '-p', project]];
  await step('types of lib and test', ...tsc('tsconfig.json'));
  for (const name of readdirSync('sample')) {
    const sample = `sample/${name}`;
    if (!existsSync(`${sample}/tsconfig.json`)) continue;
    readySample(sample);
    await step(`types of ${sample}`, ...tsc(sample));
  }
}
