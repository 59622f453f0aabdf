import { expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

// The simulation runs in a process of its own. Jest's `process` sees no unhandled rejections
// and changes Node's globals.
const run = promisify(execFile);

const npmRun = async (script: string, ...args: string[]): Promise<string> =>
  (await run(process.execPath, [`scripts/${script}.mjs`, ...args], { maxBuffer: 2 ** 28 })).stdout;

it('B53 with any faults, a key has one holder, tokens grow, and nothing is left behind', async () => {
  const told = await npmRun('simulate', '--schedules', '2000');
  expect(told).toMatch(
    /simulation: \d+ schedules, \d{4,} holds, \d{4,} locks released to waiters, \d{4,} requests in batches, \d{3,} losses noticed, \d{4,} faults, 0 violations\n$/,
  );
}, 300_000);

it('a schedule plays the same each time', async () => {
  const story = (): Promise<string> => npmRun('simulate', '--seed', '7', '--schedule', '3');
  const told = await story();
  expect(told.split('\n').length).toBeGreaterThan(50);
  expect(await story()).toBe(told);
}, 60_000);
