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
 * (milliseconds by the database's clock; `ended` is null if the process died). `accepted` says
 * whether the database accepted the fencing token, and `lost` whether the run learned that its
 * lock was lost.
 *
 * @param {readonly RunRow[]} rows
 * @returns {RunCounts}
 */
export function countRuns(rows) {
  // The runs are sorted by their fencing tokens, which grow with each acquisition.
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
 * Counts the seconds in which the empty job ran, and the seconds in which it ran more than
 * once. `at` is the time of a run in milliseconds.
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

/** How many milliseconds a timer may fire before its second. */
const TIMER_IS_EARLY = 100;

/**
 * Returns the second in which a run started, since there is one tick in each second.
 *
 * @param {RunRow} run
 */
export function secondOf(run) {
  return Math.floor(run.started / 1000);
}

function overlap(a, b) {
  return a.started < b.ended && b.started < a.ended;
}

/**
 * Whether a run took over the lock: it is on another instance, and began before the preceding
 * run had ended.
 */
function tookOver(before, run) {
  return run.instance !== before.instance && (before.ended === null || before.ended > run.started);
}
