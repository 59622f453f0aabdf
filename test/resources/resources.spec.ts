import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Target } from '../servers/targets.js';
import { MongoFixture, mongodbIsSelected } from '../stores/mongodb/fixture.js';
import { targetsAmong } from '../stores/typeorm/fixture.js';

const program = fileURLToPath(new URL('resources.child.mjs', import.meta.url));

interface Amounts {
  acquisitions: number;
  losses: number;
  abortedWaits: number;
}
type Measurement = { heap: number } & Record<string, number>;

// The service remembers its last keys, at most 20,000. So many acquisitions show what each of
// them leaves behind, be it sixty bytes.
const MANY: Amounts = { acquisitions: 30_000, losses: 1_000, abortedWaits: 1_000 };
const WARM_UP: Amounts = { acquisitions: 1_000, losses: 100, abortedWaits: 100 };
// What the stores add shows sooner, and databases are slower.
const SOME: Amounts = { acquisitions: 1_000, losses: 100, abortedWaits: 200 };
const FEW: Amounts = { acquisitions: 400, losses: 50, abortedWaits: 100 };
const SHORT_WARM_UP: Amounts = { acquisitions: 200, losses: 50, abortedWaits: 100 };
const MEGABYTE = 2 ** 20;

/** Runs the built package (`npm run build`) in a process of its own, which can be told to collect its garbage. */
async function measure(store: object, warmUp: Amounts, measured: Amounts) {
  const given = [store, { warmUp, measured }].map((argument) => JSON.stringify(argument));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--expose-gc', program, ...given]);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as { before: Measurement; after: Measurement };
}

/** `heap`: by how many megabytes it may grow; `drift`: how many of everything else may come and go by themselves. */
function expectNoGrowth(
  { before, after }: Awaited<ReturnType<typeof measure>>,
  heap: number,
  drift = 0,
): void {
  const { heap: heapBefore, ...countsBefore } = before;
  const { heap: heapAfter, ...countsAfter } = after;
  const grown = Object.entries(countsAfter).filter(
    ([name, count]) => count > (countsBefore[name] ?? 0) + drift,
  );
  expect(grown).toEqual([]);
  expect(after['locks held']).toBe(0);
  expect((heapAfter - heapBefore) / MEGABYTE).toBeLessThan(heap);
}

describe('Nothing is left behind by 30,000 acquisitions, 1,000 losses and 1,000 waits that were aborted', () => {
  it('B21, B43, B54 no timer, listener, lock or memory', async () => {
    const measured = await measure({ kind: 'memory' }, WARM_UP, MANY);
    expectNoGrowth(measured, 4); // about two megabytes for the keys that are remembered
    // One timer is that by which the program keeps itself alive, and one that of the service's clock for all limits of time.
    expect(measured.after).toMatchObject({ timers: 2, 'listeners of the signal': 0 });
  }, 60_000);
});

describe('Nor in a database, by fewer of them', () => {
  for (const target of targetsAmong('sqlite', 'postgres')) {
    let opened: Target;
    beforeAll(async () => void (opened = await target.open()));
    afterAll(() => opened.dispose());

    it(`on ${target.name}: no connection either`, async () => {
      expectNoGrowth(await measure({ kind: target.name, options: opened.options }, SHORT_WARM_UP, SOME), 3);
    }, 60_000);
  }

  describe('on MongoDB', () => {
    if (!mongodbIsSelected()) return;
    const fixture = new MongoFixture();
    afterAll(() => fixture.dispose());

    it('no connection either', async () => {
      await fixture.store();
      const { url, databaseName } = fixture;
      // Its driver asks each member from time to time how it is.
      expectNoGrowth(
        await measure({ kind: 'mongodb', options: { url, databaseName } }, SHORT_WARM_UP, FEW),
        3,
        4,
      );
    }, 60_000);
  });
});
