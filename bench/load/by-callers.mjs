import { judged, NONE } from '../goals.mjs';
import { interleaveSlices, untilConclusive } from '../interleave.mjs';
import { libraryOf } from '../peers/library-of.mjs';
import { startPeer } from '../peers/start-peer.mjs';
import { comparisonOfSeries } from '../statistics.mjs';
import { CONNECTIONS, DRIVERS, startApplication, WARM_UP } from './applications.mjs';

/** The numbers of simultaneous callers that are measured. Each caller has its own key. */
export const CALLERS = [1, 3, 10, 30, 100, 300, 1_000];

/**
 * All contestants are measured in this number of blocks, for the chart. The contestants of a
 * goal are then measured again, in as many blocks as in other measures.
 */
const BLOCKS = { full: 5, quick: 2 };
/**
 * Milliseconds for the warm-up before each further number of callers. It is short, since the
 * processes have run with fewer callers before.
 */
const NEXT_WARM_UP = { full: 500, quick: 100 };

/**
 * Measures pairs of acquire and release per second, for a growing number of callers on ten
 * connections. The contestants are this library through the driver, through TypeORM and
 * without batching, and each SQL peer with leases, in its variants `default` and `tuned`. Each
 * contestant is a separate process on the same server.
 *
 * @param goals the goals `againstPeers` and `againstUnbatched` for each number of callers
 * @returns rows; `details.curves` of the last row has all rates, for the chart
 */
export async function throughputByCallers(context, goals) {
  const { store, quick, progress } = context;
  const contestants = [];
  try {
    progress.tell('starts the peers');
    await start(context, contestants);
    const rows = [];
    const curves = Object.fromEntries(contestants.map(({ name }) => [name, {}]));
    for (const [i, callers] of CALLERS.entries()) {
      progress.tell(`${callers} callers`);
      const warmUpSlice = (i === 0 ? WARM_UP : NEXT_WARM_UP)[quick ? 'quick' : 'full'];
      const { rates } = await compete(context, contestants, {
        callers,
        blocks: quick ? BLOCKS.quick : BLOCKS.full,
        warmUpSlice,
      });
      for (const [name, rate] of Object.entries(rates)) curves[name][callers] = Math.round(rate);
      if (callers in goals.againstPeers || callers in goals.againstUnbatched)
        rows.push(...(await decide(context, contestants, { callers, rates, goals })));
    }
    const [{ name, child }] = contestants;
    const most = CALLERS.at(-1);
    return [
      ...rows,
      {
        title: `pairs/s of ${most.toLocaleString('en')} callers`,
        ...judged({
          store,
          measured: curves[name][most],
          unit: 'pairs/s',
          details: {
            variant: name,
            connections: CONNECTIONS,
            'refusals of keys that no other caller wanted': await child.ask('refusals'),
            curves,
          },
        }),
      },
    ];
  } finally {
    await Promise.all(contestants.map(({ child }) => child.close()));
  }
}

async function start(context, contestants) {
  const { store, servers } = context;
  const add = async (contestant, starting) => contestants.push({ ...contestant, child: await starting });
  const ours = async (name, settings) =>
    add({ name, ours: true }, startApplication({ ...context, ...settings }));
  await ours(DRIVERS[store], {});
  await ours('typeOrmStore', { client: 'typeorm' });
  await ours('batching: false', { storeOptions: { batching: false } });
  // The peers are imported only here, since their packages are installed only for the bench.
  const { peers } = await import('../peers/index.mjs');
  for (const peer of peers.filter(
    ({ kind, lease, stores }) => kind === 'sql' && lease && stores.includes(store),
  ))
    for (const variant of peer.variants)
      await add(
        { name: `${peer.name}, ${variant}`, hasGoals: peer.hasGoals ?? true },
        startPeer({ peer, variant, store, servers, connections: CONNECTIONS }),
      );
}

function compete({ slice }, contestants, { callers, blocks, warmUpSlice }) {
  const slices = Object.fromEntries(
    contestants.map(({ name, child }) => [
      name,
      (milliseconds) => child.ask('rate', { callers, slice: milliseconds }),
    ]),
  );
  return interleaveSlices(slices, { reference: contestants[0].name, slice, blocks, warmUpSlice });
}

/** Compares this library with the fastest peer, and with itself without batching. */
async function decide(context, contestants, { callers, rates, goals }) {
  const { store, counts, quick, progress } = context;
  const ours = contestants.filter((contestant) => contestant.ours);
  const [best] = contestants
    .filter((contestant) => contestant.hasGoals)
    .toSorted((a, b) => rates[b.name] - rates[a.name]);
  const others = contestants.filter(({ hasGoals }) => hasGoals === false);
  const unbatched = ours.at(-1).name;
  progress.tell(`${callers} callers, beside ${best.name}`);
  const { series, rates: decided } = await untilConclusive(counts.attempts, () =>
    compete(context, [best, ...others, ...ours], {
      callers,
      blocks: counts.blocks,
      warmUpSlice: NEXT_WARM_UP[quick ? 'quick' : 'full'],
    }),
  );
  const rowOf = (name, other, goal, variant) => {
    const { ratio, low, high, inconclusive } = comparisonOfSeries(series[name], series[other]);
    return judged({
      store,
      measured: ratio,
      unit: '×',
      goal,
      inconclusive,
      range: [low, high],
      details: { variant, 'compared with': other, 'per second': decided },
    });
  };
  const count = `${callers.toLocaleString('en')} callers`;
  const batched = ours.map(({ name }) => name).filter((name) => name !== unbatched);
  return [
    ...batched.map((name) =>
      rowOf(name, best.name, goals.againstPeers[callers] ?? NONE, `${count}, ${name}`),
    ),
    ...others.map(({ name }) => ({
      title: `pairs/s ÷ those of ${libraryOf(name)}`,
      ...rowOf(batched[0], name, NONE, `${count}, ${batched[0]}`),
    })),
    {
      title: 'pairs/s ÷ those with batching: false',
      ...rowOf(batched[0], unbatched, goals.againstUnbatched[callers] ?? NONE, `${count}, ${batched[0]}`),
    },
  ];
}
