import { ChildProcess } from '../child-process.mjs';
import { atMost, judged } from '../goals.mjs';

const SIZES = {
  full: { locks: 100_000, waiters: 10_000, renewEvery: 10_000 },
  quick: { locks: 10_000, waiters: 1_000, renewEvery: 3_000 },
};
/** For how many renewals of each lock the process is watched. */
const ROUNDS = 2;
const PROGRAM = new URL('../scale/process.mjs', import.meta.url);

/**
 * Measures a process that holds very many locks, at first without and then with waiters: its
 * memory, its event loop, and whether all renewals are in time.
 */
export default {
  id: 'S7',
  title: '100,000 held locks in one process',
  stores: ['none', 'postgres'],

  async measure({ store, servers, quick, progress }) {
    const { locks, waiters, renewEvery } = quick ? SIZES.quick : SIZES.full;
    const url = store === 'none' ? undefined : await servers.database(store);
    const child = await ChildProcess.start(PROGRAM, { store, url });
    try {
      progress.tell(`acquires ${locks.toLocaleString('en')} locks`);
      const { bytes, seconds } = await child.ask('hold', { count: locks, renewEvery });
      progress.tell('watches the renewals');
      const held = await child.ask('watch', { milliseconds: ROUNDS * renewEvery + 1_000 });
      progress.tell(`adds ${waiters.toLocaleString('en')} waiters`);
      const waiting = await child.ask('wait', { count: waiters });
      const besides = await child.ask('watch', { milliseconds: renewEvery });
      const variant = (text) => (store === 'none' ? `${text}, in memory` : text);
      return [
        judged({
          store,
          measured: bytes / locks / 1_000,
          unit: 'KB',
          goal: atMost(1),
          details: {
            variant: variant(
              store === 'none' ? 'heap of a lock with its entry in the memory store' : 'heap of a lock',
            ),
            locks,
            'seconds to acquire them': seconds,
          },
        }),
        eventLoopOf(held, store, variant('longest block of the event loop'), {}),
        judged({
          store,
          measured: held.late, // `late` includes lost locks
          unit: 'locks',
          goal: atMost(0),
          details: {
            variant: variant(`locks renewed late, or lost, in ${ROUNDS} rounds`),
            lost: held.lost,
            'latest renewal, ms before its lease ends': held.least,
          },
        }),
        eventLoopOf(
          besides,
          store,
          variant(`longest block of the event loop, with ${waiters.toLocaleString('en')} waiters`),
          {
            'heap of a waiter, KB': waiting.bytes / waiters / 1_000,
            lost: besides.lost,
          },
        ),
      ];
    } finally {
      // Kills the process, since 100,000 releases would take time and measure nothing.
      await child.kill();
    }
  },
};

function eventLoopOf({ longest, longestOwn, above10, count }, store, variant, details) {
  return judged({
    store,
    measured: longest,
    unit: 'ms',
    goal: atMost(10),
    // The machine ran other processes during the longest turn.
    inconclusive: longest > 10 && longestOwn <= 10,
    details: {
      variant,
      'longest of its own work, ms': longestOwn,
      'turns above 10 ms': above10,
      turns: count,
      ...details,
    },
  });
}
