// npm run bench -- --against DIR compares this version with another version, which was checked
// out and built in DIR.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ChildProcess } from './child-process.mjs';
import { CONNECTIONS, HOLD } from './contention/contend.mjs';
import { interleaveSlices } from './interleave.mjs';
import { Progress } from './progress.mjs';
import { Servers } from './servers.mjs';

const BLOCKS = 15;
const SLICE = 500;
const WARM_UP = 2_000;
/** An operation may take 1.05 times as long as in the other version. */
const TOLERANCE = 1.05;
const DRAIN = { waiters: 100, hold: HOLD };

/**
 * The measures that can compare versions: the program that runs once for each version, its
 * settings, and how to measure its rate.
 */
const MEASURES = {
  P1: { program: 'application.mjs', settings: { connections: 1 }, rate: rateOf(1) },
  P3: { program: 'application.mjs', settings: { connections: CONNECTIONS }, rate: rateOf(CONNECTIONS) },
  P8: {
    program: 'contention/worker.mjs',
    settings: { connections: CONNECTIONS },
    rate: (child) => async () => 1_000 / (await child.ask('drain', DRAIN)).took,
  },
  P14: {
    program: 'application.mjs',
    settings: { connections: CONNECTIONS, storeOptions: { wakeUps: true } },
    rate: rateOf(CONNECTIONS),
    stores: ['postgres'],
  },
};

/**
 * Measures both versions in blocks, in random order, and prints the time that this version
 * takes, divided by that of the other version.
 *
 * @returns the exit code: 1 if most blocks of a measure are slower than the tolerance
 */
export async function compareVersions({ against, stores, only }) {
  const progress = new Progress();
  const servers = new Servers();
  const versions = { this: new URL('.', import.meta.url), other: folderOf(against) };
  let slower = 0;
  try {
    progress.begin('servers');
    const failures = await servers.start(stores);
    for (const { store, reason } of failures)
      throw new Error(`${store} cannot be started`, { cause: reason });
    for (const store of stores)
      for (const [id, measure] of Object.entries(MEASURES)) {
        if (only && !only.includes(id)) continue;
        if (!(measure.stores?.includes(store) ?? true)) continue;
        progress.begin(`${id}, ${store}`);
        const { ratio, low, high } = await compare(measure, { store, servers, versions });
        if (low > TOLERANCE) slower++;
        progress.say(
          `${id.padEnd(4)} ${store.padEnd(9)} time ÷ the other version's: ${ratio.toFixed(3)} (p10–p90 of ${BLOCKS} blocks: ${low.toFixed(3)}–${high.toFixed(3)})${low > TOLERANCE ? ' SLOWER' : ''}`,
        );
      }
    return slower > 0 ? 1 : 0;
  } finally {
    await servers.stop();
  }
}

async function compare({ program, settings, rate }, { store, servers, versions }) {
  const children = {};
  try {
    for (const [name, folder] of Object.entries(versions)) {
      const url = await servers.database(store);
      children[name] = await ChildProcess.start(new URL(program, folder), { store, url, ...settings });
    }
    const contestants = { this: rate(children.this), other: rate(children.other) };
    const { ratios } = await interleaveSlices(contestants, {
      reference: 'this',
      slice: SLICE,
      blocks: BLOCKS,
      warmUpSlice: WARM_UP,
    });
    // `ratios.other` is the rate of the other version divided by the rate of this version,
    // which is the time of this version divided by that of the other.
    return ratios.other;
  } finally {
    await Promise.all(Object.values(children).map((child) => child.close()));
  }
}

function rateOf(callers) {
  return (child) => (milliseconds) => child.ask('rate', { callers, slice: milliseconds });
}

function folderOf(checkout) {
  return new URL('bench/', `${pathToFileURL(resolve(checkout)).href}/`);
}
