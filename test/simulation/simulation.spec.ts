import { expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

// The simulation runs outside of Jest, since Jest hides unhandled rejections and changes the
// globals of Node.
const run = promisify(execFile);

const npmRun = async (script: string, ...args: string[]): Promise<string> =>
  (await run(process.execPath, [`scripts/${script}.mjs`, ...args], { maxBuffer: 2 ** 28 })).stdout;

it('B53 whatever faults occur, a key has at most one holder, tokens grow, and no lock or timer is left', async () => {
  const told = await npmRun('simulate', '--schedules', '2000');
  expect(told).toMatch(
    /simulation: \d+ schedules, \d{4,} holds, \d{4,} locks released to waiters, \d{4,} requests in batches, \d{3,} losses noticed, \d{4,} faults, 0 violations\n$/,
  );
}, 300_000);

it('a schedule with the same seed and number plays the same each time', async () => {
  const story = (): Promise<string> => npmRun('simulate', '--seed', '7', '--schedule', '3');
  const told = await story();
  expect(told.split('\n').length).toBeGreaterThan(50);
  expect(await story()).toBe(told);
}, 60_000);
