// npm test, from a fresh clone too: installs, builds, checks all types, and runs the specs with jest.
// Arguments go to jest: npm test -- lock-key.spec
import { existsSync, readdirSync } from 'node:fs';
import { ready } from './ready.mjs';
import { step } from './step.mjs';

await ready({ build: true });

const tsc = (project) => [process.execPath, ['node_modules/typescript/bin/tsc', '-p', project]];
await step('types of lib and test', ...tsc('tsconfig.json'));
for (const project of sampleProjects()) await step(`types of ${project}`, ...tsc(project));

await step('specs', process.execPath, [
  '--experimental-vm-modules',
  '--disable-warning=ExperimentalWarning',
  'node_modules/jest/bin/jest.js',
  ...process.argv.slice(2),
]);

function sampleProjects() {
  const samples = existsSync('sample') ? readdirSync('sample') : [];
  return samples.map((sample) => `sample/${sample}/tsconfig.json`).filter((file) => existsSync(file));
}
