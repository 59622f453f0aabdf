import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { selectedStores } from '../servers/targets.js';

const stores = selectedStores.filter((store) => ['postgres', 'mariadb', 'sqlite', 'mongodb'].includes(store));

/**
 * Runs torture in a separate process, which starts its own server, since torture kills the
 * server.
 */
async function torture(folder: string, ...options: string[]) {
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, ['test/torture/cli.mjs', '--out', folder, ...options], (_, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  const { results } = JSON.parse(await readFile(join(folder, 'torture.json'), 'utf8'));
  return { output, ...results[0] };
}

for (const store of stores)
  describe(`torture on ${store}`, () => {
    let folder: string;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-smoke-'));
    });
    afterAll(() => rm(folder, { recursive: true }));

    it('B53 under torture, two processes never hold a lock at once, and the fence refuses late writes', async () => {
      const { output, violations, staleWritesRefused, error } = await torture(
        folder,
        '--smoke',
        '--store',
        store,
      );
      expect({ error, violations, output }).toEqual({ error: undefined, violations: [], output });
      expect(staleWritesRefused).toBeGreaterThan(0);
    }, 180_000);
  });

describe('torture with a planted bug', () => {
  const bugs: [string, string][] = [['sqlite', 'a lease has no deadline']];
  if (stores.includes('postgres'))
    bugs.push(['postgres', 'the transaction status in the answer of a grant is ignored']);

  it.each(bugs)(
    'torture on %s finds the planted bug "%s"',
    async (store, bug) => {
      const folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-planted-'));
      try {
        const { violations } = await torture(folder, '--store', store, '--planted', bug, '--seconds', '60');
        expect(violations).toContainEqual(expect.objectContaining({ check: 'overlap' }));
      } finally {
        await rm(folder, { recursive: true });
      }
    },
    180_000,
  );
});
