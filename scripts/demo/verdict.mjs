import { countRuns } from './count-runs.mjs';

/** @typedef {{ token: number, instance: { name: string } }} Hit */

/**
 * Returns the reasons for which this run of the demo fails. One reason is a fault without
 * effect, since then the counts would prove nothing.
 *
 * @param {{
 *   runs: readonly import('./count-runs.mjs').RunRow[],
 *   edition: number,
 *   lock?: { holder: string },
 * }} end
 * @param {{ killed: Hit, frozen: Hit }} hits
 * @param {{ seconds: number, twice: number }} beats
 * @returns {string[]}
 */
export function objections({ runs: log, edition, lock }, { killed, frozen }, beats) {
  const { runs, doubles, takeOvers } = countRuns(log);
  const [dead, late] = [killed, frozen].map((hit) => log.find((run) => run.token === hit.token));
  const unfinished = log.filter((run) => run.ended === null && run !== dead);
  return [
    doubles > 0 && `${doubles} pairs of runs overlapped.`,
    edition !== runs && `${runs} runs published, but the report is at edition ${edition}.`,
    dead?.ended !== null && `kill -9 did not hit ${killed.instance.name} in its run.`,
    (!late?.ended || late.accepted) &&
      `The late write of ${frozen.instance.name} was not refused by the fence.`,
    !late?.lost && `${frozen.instance.name} was not told that its lock was lost.`,
    takeOvers < 2 && `There were ${takeOvers} take-overs instead of two.`,
    unfinished.length > 0 && `${unfinished.length} more runs did not come to their end.`,
    beats.seconds < 10 && `The empty job ran in ${beats.seconds} seconds only.`,
    beats.twice > 0 && `The empty job ran more than once in ${beats.twice} seconds.`,
    lock && `${lock.holder} has left the lock behind.`,
  ].filter(Boolean);
}
