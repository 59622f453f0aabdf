// npm test, from a fresh clone too: installs, builds, checks all types, and runs the specs with jest.
// Arguments go to jest: npm test -- lock-key.spec
import { existsSync, readdirSync } from 'node:fs';
import { ready } from './ready.mjs';
import { readySample } from './sample-packages.mjs';
import { step } from './step.mjs';

await ready({ build: true });

const tsc = (project) => [process.execPath, ['node_modules/typescript/bin/tsc', '-p', project]];
await step('types of lib and test', ...tsc('tsconfig.json'));
for (const sample of samples()) {
  readySample(sample);
  await step(`types of ${sample}`, ...tsc(sample));
}

await step('specs', process.execPath, [
  '--experimental-vm-modules',
  '--disable-warning=ExperimentalWarning',
  'node_modules/jest/bin/jest.js',
  ...process.argv.slice(2),
]);

function samples() {
  return readdirSync('sample')
    .map((name) => `sample/${name}`)
    .filter((folder) => existsSync(`${folder}/tsconfig.json`));
}
