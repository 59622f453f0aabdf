import { setTimeout } from 'node:timers/promises';
import { ChildProcess } from '../child-process.mjs';
import { atLeast, judged } from '../goals.mjs';
import { interleaveSlices, untilConclusive } from '../interleave.mjs';
import { CONNECTIONS, WARM_UP } from '../load/applications.mjs';
import { openLocks } from '../locks.mjs';

const CALLERS = 100;
const GUARDED = 'guarded';
const FOREIGN = 'foreign';
/**
 * Each locked row has two callers. While the request of one is repeated outside of a batch,
 * that of the other is in the next batch, so every batch meets a locked row.
 */
const TRIED = [GUARDED, GUARDED, FOREIGN, FOREIGN];
/**
 * Milliseconds between two statements in the transaction with the guard, since PostgreSQL ends
 * such a transaction when it is idle for ten seconds.
 */
const PACE = 2_000;
const APPLICATION = new URL('../application.mjs', import.meta.url);

/**
 * Measures whether locked rows slow down requests for other keys that share their statements.
 */
export default {
  id: 'S11',
  title: 'pairs/s of other keys, a guarded row and a row of a stranger in each batch ÷ without',
  stores: ['postgres', 'mariadb', 'mysql'],

  async measure(context) {
    const { store, servers } = context;
    const url = await servers.database(store);
    const holder = await openLocks({ store, url, connections: 3 });
    const application = await ChildProcess.start(APPLICATION, {
      store,
      url,
      connections: CONNECTIONS,
      client: 'driver',
    });
    try {
      const unlock = await lockRows(store, holder);
      try {
        return [await measureBeside(context, application)];
      } finally {
        await unlock();
      }
    } finally {
      await application.close();
      await holder.close();
    }
  },
};

/**
 * Begins two transactions that each lock the row of a key. Returns a function that ends both.
 */
async function lockRows(store, { locks, dataSource }) {
  await (await locks.acquire(FOREIGN)).release();
  const lock = await locks.acquire(GUARDED, { ttl: '10m', autoRenew: false });
  const guarding = await begin(dataSource);
  await lock.guard(guarding.manager);
  const stranger = await begin(dataSource);
  const key = store === 'postgres' ? '"key"' : '`key`';
  await stranger.query(`SELECT ${key} FROM locks WHERE ${key} = '${FOREIGN}' FOR UPDATE`);
  const end = new AbortController();
  const staying = stayBusy(guarding, end.signal);
  return async () => {
    end.abort();
    await staying;
    for (const runner of [guarding, stranger]) {
      await runner.rollbackTransaction();
      await runner.release();
    }
    await lock.release();
  };
}

/** Sends a statement in the transaction at intervals, until the signal aborts. */
async function stayBusy(runner, signal) {
  while (!signal.aborted) {
    await runner.query('SELECT 1');
    // The signal aborts the pause.
    await setTimeout(PACE, undefined, { signal }).catch(() => undefined);
  }
}

async function begin(dataSource) {
  const runner = dataSource.createQueryRunner();
  await runner.startTransaction();
  return runner;
}

async function measureBeside({ store, counts, slice, quick }, application) {
  const callers = CALLERS - TRIED.length;
  const free = TRIED.map((_, i) => `free-${i}`);
  const beside = (tried, locked) => (milliseconds) =>
    application.ask('rateBeside', { callers, slice: milliseconds, tried, locked });
  const { rates, ratios } = await untilConclusive(counts.attempts, () =>
    interleaveSlices(
      { 'beside locked rows': beside(TRIED, true), 'beside free rows': beside(free, false) },
      {
        reference: 'beside free rows',
        slice,
        blocks: counts.blocks,
        warmUpSlice: quick ? WARM_UP.quick : WARM_UP.full,
      },
    ),
  );
  const { ratio, low, high, inconclusive } = ratios['beside locked rows'];
  return judged({
    store,
    measured: ratio,
    unit: '×',
    goal: atLeast(0.8),
    inconclusive,
    range: [low, high],
    details: { 'per second': rates, 'callers that try the locked rows': TRIED.length },
  });
}
