import {
  brokenFence,
  lateTakeOvers,
  lateWrites,
  overlaps,
  takeOvers,
  tokensThatDoNotGrow,
  wrongAnswers,
} from './checks.mjs';
import { AFTERMATH, TAKE_OVER_SLACK } from './terms.mjs';

/**
 * Returns the figures of a run and whether the run passed.
 *
 * @param callers the number of callers in each process that want different keys at once
 * @param seen the violations that were noticed during the run
 */
export function judge({ span, history, log, torturer, lags, callers = 0, seen }) {
  const { writes, wants, counts, troubles } = history;
  const { faults, kills, schedules } = torturer;
  const holds = [...history.holds.values()];
  const { late, violations: unexplained } = lateWrites(log, { writes, holds: history.holds });
  const found = takeOvers({
    kills,
    holds,
    wants: [...wants.values()],
    disturbances: faults.filter(({ kind }) => !kind.startsWith('kill')),
    lags: lags.spans,
    // A take-over may take longer beside a crowd, since the attempt of the new holder queues
    // behind the requests of the crowd.
    slack: TAKE_OVER_SLACK + 10 * callers,
  });
  const placed = ({ at, ...what }) => ({
    ...what,
    second: at && (at - span.from) / 1_000,
    faults: faultsAround(faults, at),
  });
  const violations = [
    ...seen,
    ...overlaps(holds),
    ...tokensThatDoNotGrow(holds),
    ...brokenFence(log),
    ...unexplained,
    ...wrongAnswers(log, writes),
    ...lateTakeOvers(found),
  ];
  const { refused } = counts;
  return {
    seconds: Math.round((span.until - span.from) / 1_000),
    schedules,
    acquisitions: counts.acquired,
    faults: tally(faults),
    faultsInAll: faults.length,
    losses: counts.lost,
    writes: { carriedOut: log.length, accepted: counts.accepted, unknown: counts.unknown },
    staleWritesRefused: refused,
    lateWrites: late,
    takeOvers: figures(found),
    missed: counts.missed,
    failedStarts: counts.notStarted,
    permanentFailures: history.permanent.map(placed),
    troubles: Object.fromEntries([...troubles].toSorted((a, b) => b[1] - a[1])),
    lag: lags.worst,
    violations: violations.map(placed),
    verdict: violations.length > 0 ? 'failed' : refused === 0 ? 'inconclusive' : 'passed',
  };
}

function faultsAround(faults, at) {
  if (at === undefined) return [];
  return faults
    .filter(({ from, until }) => from <= at && until + AFTERMATH >= at)
    .map(
      ({ kind, text, from, until }) =>
        `${kind} ${text ?? ''} (${((from - at) / 1000).toFixed(2)} to ${((until - at) / 1000).toFixed(2)} s)`,
    );
}

function tally(faults) {
  const counts = {};
  for (const { kind } of faults) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

/**
 * Returns how long take-overs took that no other fault disturbed, in milliseconds. `p50` is
 * the median.
 */
function figures(found) {
  const times = found
    .filter(({ undisturbed, awaited }) => undisturbed && awaited)
    .map(({ took }) => Math.round(took))
    .toSorted((a, b) => a - b);
  return {
    all: found.length,
    undisturbed: times.length,
    p50: times[Math.floor(times.length / 2)],
    max: times.at(-1),
    list: found,
  };
}
