import { ChildProcess } from '../child-process.mjs';
import { untilConclusive } from '../interleave.mjs';
import { now } from '../shared-clock.mjs';
import { comparisonOf, mean, median, quantile } from '../statistics.mjs';
import { handOffs } from './overlaps.mjs';
import { sharesOf } from './shares.mjs';

export const HOLD = 5;
/**
 * Milliseconds for which a waiter pauses between two holds. A waiter that took the lock again
 * at once would look fast while the others starve.
 */
export const THINK = 5;
/** How many connections the pool of each process has. */
export const CONNECTIONS = 10;

/**
 * The lengths of a run in milliseconds. During the uncounted part, the waiters reach a steady
 * rate.
 */
const LENGTHS = {
  full: { uncounted: 2_000, counted: 25_000, blocks: 15 },
  quick: { uncounted: 800, counted: 1_500, blocks: 3 },
};

const WORKER = new URL('worker.mjs', import.meta.url);

/**
 * Starts applications, each in a separate process, on a new database.
 *
 * @returns `workers`, the processes; `start()`, which starts another process; and `close()`,
 * which ends all of them
 */
export async function startWorkers({ store, servers, processes }) {
  const url = await servers.database(store);
  const started = [];
  const start = () => {
    const worker = ChildProcess.start(WORKER, { store, url, connections: CONNECTIONS });
    started.push(worker);
    return worker;
  };
  const close = async () => {
    const workers = await Promise.allSettled(started);
    await Promise.all(workers.map(({ value }) => value?.close()));
  };
  const workers = [];
  try {
    workers.push(await start()); // the first process creates the table
    workers.push(...(await Promise.all(Array.from({ length: processes - 1 }, start))));
    return { url, workers, start, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Lets processes, each with several waiters, compete for one key. The time is divided into
 * blocks.
 *
 * @param attempts how many times the measurement is repeated at most until the ratio is
 * conclusive
 * @returns `ratios.handOff`, which compares the mean hand-off with the mean floor; the
 * statements per hand-off; the shares of the processes; and details
 */
export async function contend({
  store,
  servers,
  quick,
  progress,
  processes,
  waiters,
  attempts = 1,
  length = 1,
}) {
  const { counted, ...lengths } = quick ? LENGTHS.quick : LENGTHS.full;
  const { workers, close } = await startWorkers({ store, servers, processes });
  try {
    return await untilConclusive(attempts, async () => {
      progress.tell(`${processes} × ${waiters}`);
      return summaryOf(await work(workers, { waiters, ...lengths, counted: counted * length }));
    });
  } finally {
    await close();
  }
}

async function work(workers, { waiters, uncounted, counted, blocks }) {
  const beginAt = now() + 50; // by then, all processes have received the order
  const countFrom = beginAt + uncounted;
  const endAt = countFrom + counted;
  const terms = { waiters, hold: HOLD, think: THINK, beginAt, countFrom, endAt };
  const parts = await Promise.all(workers.map((worker) => worker.ask('work', terms)));
  const holds = parts.flatMap((part, process) => part.holds.map((hold) => ({ ...hold, process })));
  const counting = ({ from }) => from >= countFrom && from < endAt;
  const inBlocks = (some) =>
    Array.from({ length: blocks }, (_, block) =>
      some.filter(({ from }) => Math.floor(((from - countFrom) / counted) * blocks) === block),
    );
  return {
    handOffs: handOffs(holds).filter(counting),
    floors: parts.flatMap(({ floors }) => floors).filter(counting),
    waits: holds.map(({ askedAt, from }) => from - askedAt),
    statements: parts.reduce((sum, { statements }) => sum + statements, 0),
    processes: workers.length,
    inBlocks,
  };
}

function summaryOf({ handOffs: all, floors, waits, statements, processes, inBlocks }) {
  const floorBlocks = inBlocks(floors);
  const ratios = inBlocks(all)
    .map((some, block) => meanOf(some) / meanOf(floorBlocks[block]))
    .filter(Number.isFinite); // a block without a hand-off or a floor has no ratio
  const times = all.map(({ took }) => took);
  const shares = sharesOf(
    all.map(({ process }) => process),
    processes,
  );
  return {
    ratios: { handOff: comparisonOf(median(ratios), ratios) },
    statements: statements / all.length,
    shares,
    details: {
      handOffs: all.length,
      'hand-off, ms': { mean: mean(times), p50: median(times), p99: quantile(times, 0.99) },
      'floor, ms': { mean: meanOf(floors), p50: median(floors.map(({ took }) => took)) },
      'wait, ms': { p50: median(waits), p99: quantile(waits, 0.99), longest: Math.max(...waits) },
      'share of each process': shares.each,
      overlaps: 0, // overlapping holds would have thrown an error
      'hold, ms': HOLD,
      'think, ms': THINK,
      'connections of each process': CONNECTIONS,
    },
  };
}

const meanOf = (some) => mean(some.map(({ took }) => took));
