import { TypeOrmLockStore } from '../../dist/esm/stores/typeorm/index.js';
import { ChildProcess } from '../child-process.mjs';
import { cpuOf, tellsCpu } from '../database-cpu.mjs';
import { atLeast, atMost, judged, notMeasured } from '../goals.mjs';
import { openLocks } from '../locks.mjs';
import { mean, median } from '../statistics.mjs';

const LOCKS = 10_000;
const CONNECTIONS = 10;
const HOLDER = new URL('../application.mjs', import.meta.url);
const CPU_GOAL = atLeast(15);
/** How many times all locks are renewed in batches, and how many times one by one. */
const ROUNDS = { quick: { batched: 10, single: 1 }, full: { batched: 50, single: 5 } };

/**
 * Measures the renewal of ten thousand locks of one process: first batches against single
 * renewals on all connections, then the automatic renewals of the library.
 */
export default {
  id: 'P12',
  title: `renewing ${LOCKS.toLocaleString('en')} held locks`,
  stores: ['postgres', 'mariadb'],

  async measure(context) {
    const { store, servers } = context;
    const url = await servers.database(store);
    const opened = await openLocks({ store, url, connections: CONNECTIONS });
    try {
      return [...(await measureRenewals(context, opened)), await measureEventLoop(context, opened, url)];
    } finally {
      await opened.close();
    }
  },
};

async function measureRenewals({ store, servers, quick, progress }, { dataSource }) {
  const table = 'batch';
  const locks = new TypeOrmLockStore(dataSource, { table });
  await locks.prepare();
  const leases = Array.from({ length: LOCKS }, (_, i) => ({
    key: `lease-${i}`,
    owner: 'bench',
    ttl: 600_000,
  }));
  await insert(store, dataSource, table, leases);
  const { pid } = servers.of(store);

  const batched = () => locks.renewMany(leases);
  const single = async () => {
    const left = leases.values();
    const outcomes = [];
    const work = async () => {
      for (const { key, owner, ttl } of left)
        outcomes.push((await locks.renew(key, owner, ttl)) ? 'renewed' : 'lost');
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, work));
    return outcomes;
  };
  const observed = async (renew) => {
    const cpuBefore = tellsCpu ? cpuOf(pid) : 0;
    const begin = performance.now();
    const outcomes = await renew();
    const wall = performance.now() - begin;
    const renewed = outcomes.filter((outcome) => outcome === 'renewed').length;
    if (renewed !== LOCKS) throw new Error(`only ${renewed} of ${LOCKS} leases were renewed`);
    return { wall, cpu: tellsCpu ? cpuOf(pid) - cpuBefore : 0 };
  };

  // This round is not measured: it warms up, and proves that the leases exist.
  await observed(batched);
  const rounds = quick ? ROUNDS.quick : ROUNDS.full;
  const runs = { batched: [], single: [] };
  for (let i = 0; i < rounds.single; i++) {
    progress.tell('renews one by one');
    runs.single.push(await observed(single));
    progress.tell('renews in batches');
    for (let j = 0; j < rounds.batched / rounds.single; j++) runs.batched.push(await observed(batched));
  }
  const wall = {
    batched: median(runs.batched.map((run) => run.wall)),
    single: median(runs.single.map((run) => run.wall)),
  };
  const results = [
    judged({
      store,
      measured: wall.single / wall.batched,
      unit: '×',
      goal: atLeast(10),
      details: {
        variant: 'one by one ÷ batched, wall time',
        'ms for all': wall,
        'connections, one by one': CONNECTIONS,
      },
    }),
  ];
  if (!tellsCpu)
    return [
      ...results,
      notMeasured({
        store,
        goal: CPU_GOAL,
        reason: "servers' processor time can only be read on Linux",
        details: { variant: 'one by one ÷ batched, database CPU' },
      }),
    ];
  // The means of all rounds are compared, since the clock for processor time has ticks of 10
  // ms, too coarse for one round.
  const cpu = {
    batched: mean(runs.batched.map((run) => run.cpu)),
    single: mean(runs.single.map((run) => run.cpu)),
  };
  const details = { variant: 'one by one ÷ batched, database CPU', 'ms for all': cpu };
  return [
    ...results,
    judged({ store, measured: cpu.single / cpu.batched, unit: '×', goal: CPU_GOAL, details }),
  ];
}

/** Inserts all leases with a few statements, as if the locks had been acquired. */
async function insert(store, dataSource, table, leases) {
  const quote = store === 'postgres' ? '"' : '`';
  for (let start = 0; start < leases.length; start += 1000) {
    const rows = leases
      .slice(start, start + 1000)
      .map(({ key, owner, ttl }) => `('${key}', '${owner}', 1, ${Date.now() + ttl})`);
    await dataSource.query(
      `INSERT INTO ${table} (${quote}key${quote}, owner, token, expires_ms) VALUES ${rows.join(', ')}`,
    );
  }
}

/**
 * Lets the library acquire all locks through its public API, hold them, and renew them
 * automatically.
 */
async function measureEventLoop({ store, quick, progress }, { dataSource }, url) {
  const renewEvery = quick ? 2_000 : 10_000;
  const holder = await ChildProcess.start(HOLDER, { store, url, connections: CONNECTIONS });
  try {
    progress.tell('acquires');
    await holder.ask('hold', { count: LOCKS, renewEvery });
    progress.tell('watches the event loop');
    const since = Date.now();
    const turns = await holder.ask('watch', renewEvery + 1_000);
    const [{ renewed }] = await dataSource.query(
      `SELECT count(*) AS renewed FROM locks WHERE owner IS NOT NULL AND renewed_ms >= ${since}`,
    );
    if (Number(renewed) !== LOCKS)
      throw new Error(`only ${renewed} of ${LOCKS} held locks were renewed in one interval`);
    if (turns.lost > 0) throw new Error(`${turns.lost} locks were lost`);
    return judged({
      store,
      measured: turns.longest,
      unit: 'ms',
      goal: atMost(10),
      // The result is inconclusive if a turn was long only because the machine ran other
      // processes.
      inconclusive: turns.longest > 10 && turns.longestOwn <= 10,
      details: {
        variant: 'longest block of the event loop',
        'longest of its own work, ms': turns.longestOwn,
        'turns above 10 ms': turns.above10,
        turns: turns.count,
        'held locks renewed': Number(renewed),
      },
    });
  } finally {
    // Kills the holder, since 10,000 releases would take time and measure nothing.
    await holder.kill();
  }
}
