// npm run mutate: changes the core of the library a little, in hundreds of ways one at a time, and looks whether a test notices. It fails when
// less than 85 % are noticed. What is left, and why, stands in docs/mutation.md. It takes half an hour.
// npm run mutate -- --mutate lib/lock.ts        only this file; all options go to Stryker
import { ready } from './ready.mjs';
import { step } from './step.mjs';

await ready();
await step('mutation', process.execPath, [
  'node_modules/@stryker-mutator/core/bin/stryker.js',
  'run',
  ...process.argv.slice(2),
]);
