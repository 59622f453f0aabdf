import { BUG_NAMES } from './planted-bugs.mjs';
import { openProgress } from './progress.mjs';
import { reportOf, saveReport } from './report.mjs';
import { torture } from './torture.mjs';

/**
 * Tortures one store after the other, since stores that are tortured at once would compete for
 * the processors. Resolves to the exit code.
 */
export async function main({ stores, out, command, ...options }) {
  if (options.bug !== undefined && !BUG_NAMES.includes(options.bug))
    throw new Error(`there is no bug "${options.bug}"; there are: ${BUG_NAMES.join(', ')}`);
  const progress = openProgress(process.stdout);
  const results = [];
  for (const store of stores) {
    const result = await torture({ store, ...options }, (view) => progress.show(view)).catch((error) => ({
      store,
      verdict: 'failed',
      error: error.stack,
    }));
    results.push(result);
    progress.end(lineOf(result));
  }
  const path = await saveReport(reportOf(results, { command }), out);
  console.log(`report: ${path}`);
  return results.every(({ verdict }) => verdict === 'passed') ? 0 : 1;
}

function lineOf({ store, verdict, error, bug, foundAfter, ...result }) {
  if (error) return `${store}: ${error}`;
  const { acquisitions, faultsInAll, staleWritesRefused, lateWrites, takeOvers, violations } = result;
  const found = bug
    ? ` "${bug}" was ${foundAfter ? `found after ${(foundAfter / 1000).toFixed(1)} s` : violations.length > 0 ? 'found in the end' : 'NOT FOUND'};`
    : '';
  const lines = violations
    .slice(0, 5)
    .map(({ check, second, text }) => `\n    ${check} at ${second?.toFixed(2)} s: ${text}`);
  return `${store}: ${verdict};${found} ${violations.length} violations, ${staleWritesRefused} stale writes refused, ${lateWrites} late writes, ${acquisitions} acquisitions, ${faultsInAll} faults, take-over p50 ${takeOvers.p50} ms, max ${takeOvers.max} ms${lines.join('')}`;
}
