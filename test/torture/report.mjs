import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { FAULTS } from './faults.mjs';
import { KEYS, POLL, TTL, WORKERS } from './terms.mjs';

/** Returns the results as data for programs. */
export function reportOf(results, { command, date = new Date() }) {
  const processors = cpus();
  return {
    date: date.toISOString(),
    command,
    machine: {
      processor: processors[0]?.model.trim(),
      cores: processors.length,
      memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
    },
    terms: { workers: WORKERS.length, keys: KEYS.length, ttl: TTL, poll: POLL },
    results,
  };
}

/** Writes `torture.json` and `torture.md`, and resolves to the path of `torture.md`. */
export async function saveReport(report, folder) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'torture.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  const path = join(folder, 'torture.md');
  await writeFile(path, markdownOf(report));
  return path;
}

/** Returns the results as Markdown for people. */
export function markdownOf({ date, command, machine, terms, results }) {
  const { processor, cores, memory, node, platform } = machine;
  const columns = results.map(({ store, version, error }) => (error ? store : `${store} ${version}`));
  const row = (title, figure) =>
    `| ${title} | ${results.map((result) => (result.error ? '' : (figure(result) ?? ''))).join(' | ')} |`;
  const kinds = Object.keys(FAULTS).filter((kind) => results.some(({ faults = {} }) => kind in faults));
  return `# Torture

${terms.workers} processes, ${terms.keys} keys, ttl ${terms.ttl} ms, poll at most ${terms.poll} ms. \`${command}\`, ${date}, Node ${node}, ${platform}, ${processor}, ${cores} cores, ${memory}.

| | ${columns.join(' | ')} |
| --- | ${columns.map(() => '---:').join(' | ')} |
| **verdict** | ${results.map(({ verdict }) => `**${verdict}**`).join(' | ')} |
${row('violations', ({ violations }) => violations.length)}
${row('stale fenced writes refused', ({ staleWritesRefused }) => staleWritesRefused)}
${row('late writes beside the fence', ({ lateWrites }) => lateWrites)}
${row('acquisitions', ({ acquisitions }) => acquisitions)}
${row('losses noticed', ({ losses }) => losses)}
${row('writes carried out', ({ writes }) => writes.carriedOut)}
${row('writes with unknown outcome', ({ writes }) => writes.unknown)}
${row('keys of killed holders taken over (undisturbed)', ({ takeOvers }) => `${takeOvers.all} (${takeOvers.undisturbed})`)}
${row('taken over after, p50', ({ takeOvers }) => takeOvers.p50 && `${takeOvers.p50} ms`)}
${row('taken over after, at most', ({ takeOvers }) => takeOvers.max && `${takeOvers.max} ms`)}
${row('failures of the store that it took for permanent', ({ permanentFailures }) => permanentFailures.length)}
${row('seconds', ({ seconds }) => seconds)}
${row('schedules', ({ schedules }) => schedules)}
${row('seed', ({ seed }) => seed)}
${row('faults', ({ faultsInAll }) => faultsInAll)}
${kinds.map((kind) => row(`… ${kind}`, ({ faults }) => faults[kind] ?? 0)).join('\n')}
${results.map(detailsOf).join('')}`;
}

function detailsOf({ store, error, violations = [], verdict }) {
  if (error) return `\n## ${store}\n\nIt could not be tortured: ${error}\n`;
  if (verdict === 'inconclusive')
    return `\n## ${store}\n\nNo stale write was refused, so that nothing is proved.\n`;
  if (violations.length === 0) return '';
  const list = violations.map(({ check, second, text, faults }) => {
    const around = faults.map((fault) => `\n  - ${fault}`).join('');
    return `- **${check}**${second === undefined ? '' : ` at ${second.toFixed(2)} s`}: ${text}${around}`;
  });
  return `\n## ${store}: violations\n\n${list.slice(0, 50).join('\n')}\n`;
}
