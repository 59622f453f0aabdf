import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

const instanceFile = fileURLToPath(new URL('plain-instance.mjs', import.meta.url));

/**
 * Runs several instances of an application with a plain `@Cron('* * * * * *') @Locked()` on
 * one database.
 *
 * @param {string} url
 * @param {{ instances?: number, seconds: number, body: number }} options `body` is the
 * duration of a run in milliseconds
 * @returns {Promise<{
 *   fired: number,
 *   ran: number,
 *   twice: string[],
 *   missing: string[],
 *   overlaps: number,
 * }>} `fired` and `ran` count the seconds in which a timer fired (without the last) and in
 * which a job ran. `twice` and `missing` list the seconds with two runs and with none.
 * `overlaps` counts the runs that overlapped.
 */
export async function runPlainTicks(url, { instances = 3, seconds, body }) {
  const { firings, runs } = await play(url, { instances, seconds, settings: { body } });
  const fired = [...new Set(firings.map(({ tick }) => tick))].toSorted((a, b) => a - b).slice(0, -1);
  const counts = new Map(fired.map((tick) => [tick, 0]));
  for (const { tick } of runs) if (counts.has(tick)) counts.set(tick, counts.get(tick) + 1);
  const named = (wanted) =>
    [...counts].filter(([, count]) => wanted(count)).map(([tick]) => new Date(tick).toISOString());
  const inOrder = runs.toSorted((a, b) => a.began - b.began);
  return {
    fired: fired.length,
    ran: named((count) => count > 0).length,
    twice: named((count) => count > 1),
    missing: named((count) => count === 0),
    overlaps: inOrder.filter((run, i) => i > 0 && run.began < inOrder[i - 1].ended).length,
  };
}

/**
 * Runs several instances of an application with a plain `@Interval()` of `interval`
 * milliseconds and `@Locked()` on one database.
 *
 * @param {string} url
 * @param {{ instances?: number, seconds: number, interval: number }} options
 * @returns {Promise<{ fired: number, ran: number, shortest: number }>} the number of firings
 * and of runs, and the shortest time between two starts by the clock of the database
 */
export async function runPlainIntervals(url, { instances = 1, seconds, interval }) {
  const { firings, runs } = await play(url, { instances, seconds, settings: { interval } });
  const starts = runs.map(({ tick }) => tick).toSorted((a, b) => a - b);
  const gaps = starts.slice(1).map((start, i) => start - starts[i]);
  return { fired: firings.length, ran: runs.length, shortest: Math.min(Infinity, ...gaps) };
}

async function play(url, { instances, seconds, settings }) {
  const [firings, runs, children] = [[], [], []];
  // Instances are killed at the end of a round, which leaves locks behind. Each round has its
  // own prefix, so these locks do not disturb the next round.
  const prefix = randomBytes(4).toString('hex');
  try {
    for (let i = 0; i < instances; i++) {
      const child = fork(instanceFile, [url, JSON.stringify({ ...settings, prefix })], { execArgv: [] });
      children.push(child);
      child.on('message', ({ event, ...details }) => {
        if (event === 'fired') firings.push(details);
        if (event === 'ran') runs.push(details);
      });
      const ended = once(child, 'exit').then(() => [{ event: 'ended' }]);
      let event;
      while (event !== 'ready') {
        // Starts the instances one after the other, because the first one creates the table.
        [{ event }] = await Promise.race([once(child, 'message'), ended]);
        if (event === 'ended') throw new Error('an instance of the application did not start');
      }
    }
    await sleep(seconds * 1_000);
    return { firings: [...firings], runs: [...runs] };
  } finally {
    await Promise.all(
      children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      }),
    );
  }
}
