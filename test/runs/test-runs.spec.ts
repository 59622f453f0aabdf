import { beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { relative } from 'node:path';
import { promisify } from 'node:util';
import { FAULTS } from '../../scripts/test-runs.mjs';

const execute = promisify(execFile);
const all = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.spec.ts'))
  .toSorted();

/** Lists the specs that Jest runs for LOCK_TEST_RUN=`run`, as paths below test/. */
async function listed(run: string): Promise<string[]> {
  const args = ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', '--listTests', '--json'];
  const env = { ...process.env, LOCK_TEST_RUN: run };
  const { stdout } = await execute(process.execPath, args, { env });
  return (JSON.parse(stdout) as string[]).map((file) => relative('test', file)).toSorted();
}

describe('npm test and npm run test:faults', () => {
  let fast: string[];
  let faults: string[];
  beforeAll(async () => {
    [fast, faults] = await Promise.all([listed('fast'), listed('faults')]);
  });

  it('each spec runs either in npm test or in npm run test:faults, and not in both', () => {
    expect([...fast, ...faults].toSorted()).toEqual(all);
  });

  it('each path in the list of npm run test:faults leads to a spec', () => {
    const stale = FAULTS.filter((path) => !faults.some((spec) => spec.startsWith(path)));
    expect(stale).toEqual([]);
  });
});
