import { figure } from './figure.mjs';
import { machineLines } from './machine-lines.mjs';
import { COLUMNS, tally } from './table.mjs';

/** Makes the report of a run in Markdown. */
export function markdownOf({ date, command, quick, machine, results, charts }) {
  const ours = results.filter(({ details }) => !details?.peer);
  const peers = results.filter(({ details }) => details?.peer);
  const sql = peers.filter(({ details }) => !details.redis);
  const redis = [...new Set(peers.map(({ details }) => details.redis).filter(Boolean))];
  return [
    `# Bench

\`${command}\`, ${date}${quick ? '. **Quick: too few iterations to be quoted.**' : ''}`,
    machineLines(machine)
      .map((line) => `- ${line}`)
      .join('\n'),
    section('Goals', tally(ours), ours),
    charts > 0 && '![The pair and the hot key against the peers](peers.svg)',
    section('Peers on the same server', 'Each in a process of its own, on a pool of the same size.', sql),
    ...redis.map((kind) => section(kind, 'Beside a durable database of ours.', ofRedis(peers, kind))),
    `## Details\n\n${results.map(detailsOf).filter(Boolean).join('\n\n')}`,
  ]
    .filter(Boolean)
    .join('\n\n')
    .concat('\n');
}

const ofRedis = (peers, kind) => peers.filter(({ details }) => details.redis === kind);

function section(title, text, results) {
  if (results.length === 0) return undefined;
  return `## ${title}\n\n${text}\n\n${table(results)}`;
}

function table(results) {
  const row = (cells) => `| ${cells.join(' | ')} |`;
  return [
    row(COLUMNS.map(([name]) => name)),
    row(COLUMNS.map(() => '---')),
    ...results.map((result) => row(COLUMNS.map(([, cellOf]) => cellOf(result)))),
  ].join('\n');
}

function detailsOf(result) {
  const { id, store, title, details = {}, seconds } = result;
  const { variant, ...more } = details;
  const lines = Object.entries(more).map(([name, value]) => `- ${name}: ${text(value)}`);
  if (lines.length === 0) return undefined;
  const heading = [`**${id}** ${title}`, variant, store, seconds && `${seconds} s`]
    .filter(Boolean)
    .join(', ');
  return `${heading}\n\n${lines.join('\n')}`;
}

function text(value) {
  if (Array.isArray(value)) return value.map(text).join(' – ') || 'none';
  if (typeof value !== 'object' || value === null) return figure(value);
  return Object.entries(value)
    .map(([name, part]) => `${name} ${typeof part === 'object' && part ? `(${text(part)})` : text(part)}`)
    .join(', ');
}
