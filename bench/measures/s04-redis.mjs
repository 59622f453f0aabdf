import { atLeast, judged, NONE } from '../goals.mjs';
import { interleaveSlices, untilConclusive } from '../interleave.mjs';
import { CONNECTIONS, startApplication, WARM_UP } from '../load/applications.mjs';
import { startRedis } from '../peers/redis.mjs';
import { startPeer } from '../peers/start-peer.mjs';
import { comparisonOfSeries } from '../statistics.mjs';

const CALLERS = 100;
const OURS = 'nestjs-locked';
const GOAL = atLeast(1);
/**
 * The goal is a multiple of this library's rate. The other libraries run only in their variant
 * `tuned`: its variants differ only in how they wait, and here no call waits.
 */
const RIVAL = 'redlock';
/** How many blocks a figure without a goal has; figures with a goal have more. */
const REPORTED_BLOCKS = 5;

/** A volatile Redis may lose writes in a crash although it has acknowledged them. */
const SERVERS = [
  { durable: true, kind: 'appendfsync always' },
  { durable: false, kind: 'volatile' },
];

/**
 * Compares the pairs of acquire and release per second of many callers on PostgreSQL with
 * those of libraries for Redis.
 */
export default {
  id: 'S4',
  title: `pairs/s of ${CALLERS} callers ÷ those of redlock on a durable Redis`,
  stores: ['postgres'],

  async measure(context) {
    const ours = await startApplication(context);
    const rows = [];
    try {
      for (const { durable, kind } of SERVERS) {
        const { url, version, stop } = await startRedis({ durable });
        try {
          rows.push(...(await compete(context, ours, { url, durable, label: `Redis ${version}, ${kind}` })));
        } finally {
          await stop();
        }
      }
      return rows;
    } finally {
      await ours.close();
    }
  },
};

async function compete(context, ours, { url, durable, label }) {
  const { store, servers, counts, slice, quick, progress } = context;
  // The peers are imported only here, since their packages are installed only for the bench.
  const { peers } = await import('../peers/index.mjs');
  const floor = { store, url: await servers.database(store) };
  const rivals = [];
  try {
    for (const peer of peers.filter(({ kind }) => kind === 'redis'))
      for (const variant of peer.name === RIVAL ? peer.variants : ['tuned']) {
        const name = `${peer.name}, ${variant}`;
        const child = await startPeer({
          peer,
          variant,
          store: 'redis',
          connections: CONNECTIONS,
          url,
          floor,
        });
        rivals.push({ name, peer, variant, child });
      }
    progress.tell(label);
    const slices = Object.fromEntries(
      [{ name: OURS, child: ours }, ...rivals].map(({ name, child }) => [
        name,
        (milliseconds) => child.ask('rate', { callers: CALLERS, slice: milliseconds }),
      ]),
    );
    const { rates, series, best } = await untilConclusive(durable ? counts.attempts : 1, async () => {
      const measured = await interleaveSlices(slices, {
        reference: OURS,
        slice,
        blocks: durable ? counts.blocks : REPORTED_BLOCKS,
        warmUpSlice: quick ? WARM_UP.quick : WARM_UP.full,
      });
      const [best] = rivals
        .filter(({ peer }) => peer.name === RIVAL)
        .toSorted((a, b) => measured.rates[b.name] - measured.rates[a.name]);
      return { ...measured, best, ratios: { best: measured.ratios[best.name] } };
    });
    const rowOf = ({ name, variant }, goal, details) => {
      const { ratio, low, high, inconclusive } = comparisonOfSeries(series[OURS], series[name]);
      return judged({
        store,
        measured: ratio,
        unit: '×',
        goal,
        inconclusive,
        range: [low, high],
        details: { variant, 'per second': { [OURS]: rates[OURS], [name]: rates[name] }, ...details },
      });
    };
    return [
      ...(durable ? [rowOf(best, GOAL)] : []),
      ...rivals.map((rival) => ({
        title: `pairs/s of ${CALLERS} callers ÷ those of ${rival.peer.name}, ${label}`,
        ...rowOf(rival, NONE, { peer: rival.peer.name, redis: label, lease: true }),
      })),
    ];
  } finally {
    await Promise.all(rivals.map(({ child }) => child.close()));
  }
}
