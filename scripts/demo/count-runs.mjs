/**
 * @typedef {{
 *   token: number,
 *   instance: string,
 *   started: number,
 *   ended: number | null,
 *   accepted: boolean | 0 | 1,
 *   lost: boolean | 0 | 1,
 * }} RunRow
 *
 * @typedef {{
 *   ticks: number,
 *   runs: number,
 *   doubles: number,
 *   missed: number,
 *   takeOvers: number,
 *   lost: number,
 * }} RunCounts
 */

/**
 * Counts the rows of the run log. A row is one run: `token`, `instance`, `started` and `ended`
 * (milliseconds by the database's clock; `ended` is null when the process died). `accepted`
 * means that the database accepted the fencing token, and `lost` that the run learned of the
 * loss of its lock.
 *
 * @param {readonly RunRow[]} rows
 * @returns {RunCounts}
 */
export function countRuns(rows) {
  // Each acquisition has a greater token than the acquisition before it.
  const runs = rows.toSorted((a, b) => a.token - b.token);
  const accepted = runs.filter((run) => run.accepted);
  const doubles = accepted.flatMap((run, i) => accepted.slice(i + 1).filter((other) => overlap(run, other)));
  const seconds = runs.map(secondOf);
  const ticks = runs.length === 0 ? 0 : Math.max(...seconds) - Math.min(...seconds) + 1;
  return {
    ticks,
    runs: accepted.length,
    doubles: doubles.length,
    missed: ticks - new Set(accepted.map(secondOf)).size,
    takeOvers: runs.filter((run, i) => i > 0 && tookOver(runs[i - 1], run)).length,
    lost: runs.filter((run) => run.lost).length,
  };
}

/**
 * Counts the seconds in which an empty job ran, and those in which it ran more than once. `at`
 * is when it ran, in milliseconds.
 *
 * @param {readonly { at: number }[]} beats
 * @returns {{ seconds: number, twice: number }}
 */
export function countBeats(beats) {
  const seconds = new Map();
  for (const { at } of beats) {
    const second = Math.floor((at + TIMER_IS_EARLY) / 1000);
    seconds.set(second, (seconds.get(second) ?? 0) + 1);
  }
  return { seconds: seconds.size, twice: [...seconds.values()].filter((count) => count > 1).length };
}

/** Milliseconds by which a timer may fire before its second. */
const TIMER_IS_EARLY = 100;

/**
 * The second in which it started: there is one tick in each.
 *
 * @param {RunRow} run
 */
export function secondOf(run) {
  return Math.floor(run.started / 1000);
}

function overlap(a, b) {
  return a.started < b.ended && b.started < a.ended;
}

/** Another instance got the lock, although the run before had not come to its end. */
function tookOver(before, run) {
  return run.instance !== before.instance && (before.ended === null || before.ended > run.started);
}
