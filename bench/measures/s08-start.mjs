import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { atMost, judged } from '../goals.mjs';
import { shuffled } from '../interleave.mjs';
import { median, quantile } from '../statistics.mjs';

const VARIANTS = ['bare', 'with locks'];
const STARTS = { full: 75, quick: 9 };
const BLOCKS = { full: 15, quick: 3 };
const GOAL = atMost(40);
const PROGRAM = fileURLToPath(new URL('../start/process.mjs', import.meta.url));
const run = promisify(execFile);

/**
 * Measures how much longer a Nest application takes to start with the library: to load the
 * library, and to open its store. The application opens its SQLite database with and without
 * the library.
 */
export default {
  id: 'S8',
  title: 'start of an application with locks − without',
  stores: ['sqlite'],

  async measure({ store, servers, quick, progress }) {
    const file = await servers.database(store);
    // The first starts create the table and fill the file caches, so they do not count.
    for (const variant of VARIANTS) await start(variant, file);
    const starts = quick ? STARTS.quick : STARTS.full;
    const times = { bare: [], 'with locks': [] };
    for (let i = 0; i < starts; i++) {
      progress.tell(`${i + 1} of ${starts}`);
      for (const variant of shuffled(VARIANTS)) times[variant].push(await start(variant, file));
    }
    const blocks = quick ? BLOCKS.quick : BLOCKS.full;
    const inBlock = (block) => Math.floor((block * starts) / blocks);
    const added = Array.from({ length: blocks }, (_, block) => {
      const [bare, locked] = VARIANTS.map((variant) =>
        median(times[variant].slice(inBlock(block), inBlock(block + 1))),
      );
      return locked - bare;
    });
    const [low, high] = [quantile(added, 0.1), quantile(added, 0.9)];
    return [
      judged({
        store,
        measured: median(times['with locks']) - median(times.bare),
        unit: 'ms',
        goal: GOAL,
        inconclusive: GOAL.isReached(low) !== GOAL.isReached(high),
        range: [low, high],
        details: {
          starts,
          'ms until the application is ready': {
            bare: median(times.bare),
            'with locks': median(times['with locks']),
          },
        },
      }),
    ];
  },
};

/**
 * Returns how many milliseconds the application takes from the start of its process until it
 * is ready.
 */
async function start(variant, file) {
  const { stdout } = await run(process.execPath, [PROGRAM, variant, file]);
  return Number(stdout);
}
