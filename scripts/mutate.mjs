// npm run mutate
// Makes hundreds of small changes to the core of the library, one at a time, and checks
// whether a test notices. It fails when the tests notice less than 85 % of them.
// docs/mutation.md lists the changes that no test notices, with reasons. A run takes half an
// hour.
// npm run mutate -- --mutate lib/lock.ts        changes only this file; all options go to Stryker
import { ready } from './ready.mjs';
import { step } from './step.mjs';

await ready();
await step('mutation', process.execPath, [
  'node_modules/@stryker-mutator/core/bin/stryker.js',
  'run',
  ...process.argv.slice(2),
]);
