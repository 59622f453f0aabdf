import { setTimeout as sleep } from 'node:timers/promises';
import { ChildProcess } from '../child-process.mjs';
import { openFloor } from '../floors.mjs';
import { now } from '../shared-clock.mjs';
import { comparisonOf, mean, median, quantile } from '../statistics.mjs';
import { handOffs } from './overlaps.mjs';
import { sharesOf } from './shares.mjs';

export const HOLD = 5;
/** Between two holds of one waiter: one that takes the lock again at once would look fast while the others starve. */
export const THINK = 5;
/** The pool of each process. */
export const CONNECTIONS = 10;

const LENGTHS = {
  full: { blocks: 15, counted: 1_500, uncounted: 600, floors: 60 },
  quick: { blocks: 3, counted: 250, uncounted: 100, floors: 15 },
};

const WORKER = new URL('worker.mjs', import.meta.url);

/**
 * Starts applications, each in a process of its own, on a new database.
 *
 * @returns them; `start()` for one more; `close()`, which ends all of them
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
    workers.push(await start()); // it makes the table
    workers.push(...(await Promise.all(Array.from({ length: processes - 1 }, start))));
    return { url, workers, start, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Some processes with some waiters each work on one key, block after block; before each block the floor is measured, with a pause before each pair that is
 * as long as a hold.
 *
 * @param blocks at most so many of them
 * @returns the comparison of the mean hand-off with the mean floor, statements per hand-off, the shares of the processes, and details
 */
export async function contend({
  store,
  servers,
  quick,
  progress,
  processes,
  waiters,
  blocks: most = Infinity,
}) {
  const lengths = quick ? LENGTHS.quick : LENGTHS.full;
  const count = Math.min(lengths.blocks, most);
  const { url, workers, close } = await startWorkers({ store, servers, processes });
  const floor = await openFloor(store, url);
  try {
    const blocks = [];
    await block({ workers, waiters, floor, ...lengths, counted: 200 }); // connections are opened, code gets warm
    for (let i = 1; i <= count; i++) {
      progress.tell(`${processes} × ${waiters}, block ${i} of ${count}`);
      blocks.push(await block({ workers, waiters, floor, ...lengths }));
    }
    return summaryOf(blocks);
  } finally {
    await floor.close();
    await close();
  }
}

async function block({ workers, waiters, floor, floors, counted, uncounted }) {
  const pairs = [];
  for (let i = 0; i < floors; i++) {
    await sleep(HOLD);
    const begin = now();
    await floor.pair('floor');
    pairs.push(now() - begin);
  }
  const beginAt = now() + 20; // by then all of them have heard
  const countFrom = beginAt + uncounted;
  const terms = { waiters, hold: HOLD, think: THINK, beginAt, countFrom, endAt: countFrom + counted };
  const parts = await Promise.all(workers.map((worker) => worker.ask('work', terms)));
  const holds = parts.flatMap((part, process) => part.holds.map((hold) => ({ ...hold, process })));
  const counting = ({ hold }) => hold.from >= countFrom && hold.from < terms.endAt;
  return {
    floor: mean(pairs),
    handOffs: handOffs(holds).filter(counting),
    waits: holds.map(({ askedAt, from }) => from - askedAt),
    statements: parts.reduce((sum, { statements }) => sum + statements, 0),
    processes: workers.length,
  };
}

function summaryOf(blocks) {
  const all = blocks.flatMap((block) => block.handOffs);
  const times = all.map(({ took }) => took);
  const waits = blocks.flatMap((block) => block.waits);
  const ratios = blocks.map((block) => meanHandOff(block) / block.floor);
  const statements = blocks.map((block) => block.statements / block.handOffs.length);
  const shares = sharesOf(
    all.map(({ hold }) => hold.process),
    blocks[0].processes,
  );
  return {
    handOff: comparisonOf(median(ratios), ratios),
    statements: median(statements),
    shares,
    details: {
      handOffs: all.length,
      'hand-off, ms': { mean: mean(times), p50: median(times), p99: quantile(times, 0.99) },
      'floor, ms': median(blocks.map(({ floor }) => floor)),
      'wait, ms': { p50: median(waits), p99: quantile(waits, 0.99), longest: Math.max(...waits) },
      'share of each process': shares.each,
      overlaps: 0, // else it would have thrown
      'hold, ms': HOLD,
      'think, ms': THINK,
      'connections of each process': CONNECTIONS,
    },
  };
}

function meanHandOff({ handOffs: some }) {
  if (some.length === 0) throw new Error('nobody got the lock in a whole block');
  return mean(some.map(({ took }) => took));
}
