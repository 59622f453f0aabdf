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

// The service remembers at most 20,000 keys. With this many acquisitions, the test finds a
// leak of sixty bytes for each acquisition.
const MANY: Amounts = { acquisitions: 30_000, losses: 1_000, abortedWaits: 1_000 };
const WARM_UP: Amounts = { acquisitions: 1_000, losses: 100, abortedWaits: 100 };
// Fewer acquisitions for database stores: they are slower, and a leak shows after fewer of
// them than in memory.
const SOME: Amounts = { acquisitions: 1_000, losses: 100, abortedWaits: 200 };
const FEW: Amounts = { acquisitions: 400, losses: 50, abortedWaits: 100 };
const SHORT_WARM_UP: Amounts = { acquisitions: 200, losses: 50, abortedWaits: 100 };
const MEGABYTE = 2 ** 20;

/**
 * Runs the built package (`npm run build`) in a process of its own, whose garbage can be
 * collected on demand.
 */
async function measure(store: object, warmUp: Amounts, measured: Amounts) {
  const given = [store, { warmUp, measured }].map((argument) => JSON.stringify(argument));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--expose-gc', program, ...given]);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as { before: Measurement; after: Measurement };
}

/**
 * `heap` is the number of megabytes by which the heap may grow. `drift` is the difference that
 * each other resource may have without a leak.
 */
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

describe('B21 30,000 acquisitions, 1,000 losses and 1,000 aborted waits leave nothing behind', () => {
  it('B54 no timer, listener, lock or memory is left in the process', async () => {
    const measured = await measure({ kind: 'memory' }, WARM_UP, MANY);
    // The keys that the service remembers take about two megabytes.
    expectNoGrowth(measured, 4);
    // Two timers remain: the program's own, which keeps it alive, and the service's clock for
    // all time limits.
    expect(measured.after).toMatchObject({ timers: 2, 'listeners of the signal': 0 });
  }, 60_000);
});

describe('B48 acquisitions on a real database leave nothing behind', () => {
  for (const target of targetsAmong('sqlite', 'postgres')) {
    let opened: Target;
    beforeAll(async () => void (opened = await target.open()));
    afterAll(() => opened.dispose());

    it(`B48 no connection to ${target.name} is left`, async () => {
      expectNoGrowth(await measure({ kind: target.name, options: opened.options }, SHORT_WARM_UP, SOME), 3);
    }, 60_000);
  }

  describe('B48 acquisitions on MongoDB leave nothing behind', () => {
    if (!mongodbIsSelected()) return;
    const fixture = new MongoFixture();
    afterAll(() => fixture.dispose());

    it('B48 no connection to MongoDB is left', async () => {
      await fixture.store();
      const { url, databaseName } = fixture;
      // The MongoDB driver sometimes probes a member on a connection of its own, which is no
      // leak.
      expectNoGrowth(
        await measure({ kind: 'mongodb', options: { url, databaseName } }, SHORT_WARM_UP, FEW),
        3,
        4,
      );
    }, 60_000);
  });
});
