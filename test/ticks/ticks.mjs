import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import { FakeClock } from '../servers/fake-clock.mjs';

/**
 * How often the ticks ran. `by` counts the runs of each instance, by the shift of the
 * instance's clock.
 *
 * @typedef {{
 *   ticks: number,
 *   once: number,
 *   twice: string[],
 *   missing: string[],
 *   by: Record<string, number>,
 * }} TickVerdict
 */

const instanceFile = fileURLToPath(new URL('tick-instance.mjs', import.meta.url));

/** Milliseconds to wait for late runs, after the slowest clock has reached the last tick. */
const REST = 3_000;

/**
 * Runs a job that is locked once per tick on instances that share a database and whose clocks
 * are off by `shifts` (in seconds). Reports how often each tick ran.
 *
 * There are `every` seconds between ticks, and `ticks` of them are judged. After `kill` ticks,
 * the instance whose clock is ahead is killed. After `jump.after` ticks, the clock of one
 * instance is set from one shift to another. `onRun` receives each run.
 *
 * @param {string} url
 * @param {{
 *   shifts: readonly number[],
 *   every: number,
 *   ticks: number,
 *   kill?: number,
 *   jump?: { after: number, from: number, to: number },
 *   onRun?: (run: { tick: number, shift: number }) => void,
 * }} options
 * @returns {Promise<TickVerdict>}
 */
export async function runTicks(url, { shifts, every, ticks, kill, jump, onRun = () => {} }) {
  const runs = [];
  const news = new EventEmitter();
  const instances = [];
  if (url.startsWith('mongodb')) await createCollection(url);
  try {
    // The first instance creates the table. The instance whose clock is ahead starts last, so
    // that other instances can already take over from it.
    for (const shift of shifts.toSorted((a, b) => a - b)) {
      const instance = await TickInstance.start(url, shift, every);
      instances.push(instance);
      instance.child.on('message', ({ event, tick }) => {
        if (event !== 'ran') return;
        runs.push({ tick, shift: instance.shift });
        onRun(runs.at(-1));
        news.emit('run');
      });
    }
    const ahead = instances.at(-1);
    const first = await nextOf(ahead, news, runs);
    const ranSince = () => new Set(runs.filter(({ tick }) => tick >= first).map(({ tick }) => tick)).size;
    const ran = async (count) => {
      while (ranSince() < count) await once(news, 'run');
    };
    if (kill !== undefined) {
      await ran(kill);
      await ahead.stop();
    }
    if (jump) {
      await ran(jump.after);
      await instances.find(({ shift }) => shift === jump.from).jump(jump.to);
    }
    const last = first + (ticks - 1) * every * 1_000;
    const slowest = Math.min(...instances.filter(({ running }) => running).map(({ shift }) => shift));
    await sleep(Math.max(0, last - slowest * 1_000 + REST - Date.now()));
    return verdict(runs, { first, last, every });
  } finally {
    await Promise.all(instances.map((instance) => instance.stop()));
  }
}

/**
 * Creates the collection first, because mongod under Wine does not survive many instances that
 * create it at once.
 */
async function createCollection(url) {
  const client = await new MongoClient(url).connect();
  await client.db().createCollection('locks');
  await client.close();
}

/** Resolves to the first tick that an instance runs. */
async function nextOf({ shift }, news, runs) {
  for (;;) {
    const run = runs.find((one) => one.shift === shift);
    if (run) return run.tick;
    await once(news, 'run');
  }
}

/** Counts the runs of each tick from `first` to `last`, and the runs of each instance. */
function verdict(runs, { first, last, every }) {
  const judged = runs.filter(({ tick }) => tick >= first && tick <= last);
  const counts = new Map();
  for (let tick = first; tick <= last; tick += every * 1_000) counts.set(tick, 0);
  for (const { tick } of judged) counts.set(tick, (counts.get(tick) ?? 0) + 1);
  const named = (wanted) =>
    [...counts].filter(([, count]) => wanted(count)).map(([tick]) => new Date(tick).toISOString());
  const by = {};
  for (const { shift } of judged) by[shift] = (by[shift] ?? 0) + 1;
  return {
    ticks: counts.size,
    once: named((count) => count === 1).length,
    twice: named((count) => count > 1),
    missing: named((count) => count === 0),
    by,
  };
}

/** An instance of the application on a machine whose clock is off. */
class TickInstance {
  static async start(url, shift, every) {
    const clock = await FakeClock.create();
    await clock.set(shift);
    const env = { ...process.env, ...clock.env };
    const child = fork(instanceFile, [url, `clock ${shift} s`, String(every)], { env, execArgv: [] });
    const instance = new TickInstance(child, clock, shift);
    const [{ event }] = await Promise.race([once(child, 'message'), instance.ended]);
    if (event !== 'ready') throw new Error(`the instance whose clock is off by ${shift} s did not start`);
    return instance;
  }

  constructor(child, clock, shift) {
    this.child = child;
    this.clock = clock;
    this.shift = shift;
    this.running = true;
    this.ended = once(child, 'exit').then(() => [{ event: 'ended' }]);
  }

  async jump(shift) {
    this.shift = shift;
    await this.clock.set(shift);
  }

  async stop() {
    if (!this.running) return;
    this.running = false;
    this.child.kill('SIGKILL');
    await this.ended;
    await this.clock.remove();
  }
}
