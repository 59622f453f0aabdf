import { expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

// Not in Jest's own process: unhandled rejections do not come to its `process`, and what the library runs on must be Node's.
const run = promisify(execFile);

const npmRun = async (script: string, ...args: string[]): Promise<string> =>
  (await run(process.execPath, [`scripts/${script}.mjs`, ...args], { maxBuffer: 2 ** 28 })).stdout;

it('B12 B21 B23 B28 B38 B43 B50 B53 B54 whatever is late, lost, repeated, refused, frozen, suspended or killed: one holder, growing tokens, nothing left', async () => {
  const told = await npmRun('simulate', '--schedules', '2000');
  expect(told).toMatch(
    /simulation: \d+ schedules, \d{4,} holds, \d{4,} locks released to waiters, \d{4,} requests in batches, \d{3,} losses noticed, \d{4,} faults, 0 violations\n$/,
  );
}, 300_000);

it('a schedule is the same each time', async () => {
  const story = (): Promise<string> => npmRun('simulate', '--seed', '7', '--schedule', '3');
  const told = await story();
  expect(told.split('\n').length).toBeGreaterThan(50);
  expect(await story()).toBe(told);
}, 60_000);
