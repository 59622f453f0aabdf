import { expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

it('the simulation finds every planted bug', async () => {
  const args = ['scripts/planted.mjs', '--layer', 'simulation', '--known-first'];
  const { stdout: told } = await promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 28 });
  expect(told).toMatch(/planted: \d{2,} bugs, \d+ found, 0 not found\n$/);
}, 300_000);
