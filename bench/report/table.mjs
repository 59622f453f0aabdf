import { figure } from './figure.mjs';

const COLUMNS = [
  ['goal of', ({ id }) => id],
  ['measure', ({ title, details }) => (details?.variant ? `${title} (${details.variant})` : title)],
  ['store', ({ store }) => store],
  ['goal', ({ goal }) => goal],
  ['measured', ({ measured, unit }) => `${figure(measured)} ${unit}`.trim()],
  ['verdict', ({ verdict }) => verdict],
];
const WIDTHS = [7, 62, 9, 12, 22, 12];

/** The results for a terminal. */
export function tableOf(results, { heading = true } = {}) {
  const rows = results.map((result) => COLUMNS.map(([, cellOf]) => cellOf(result)));
  if (heading) rows.unshift(COLUMNS.map(([name]) => name));
  return rows
    .map((cells) =>
      cells
        .map((cell, i) => cell.padEnd(WIDTHS[i]))
        .join(' ')
        .trimEnd(),
    )
    .join('\n');
}

export { COLUMNS };

/** The machine for people. */
export function machineLines({ processor, cores, memory, platform, node, load, fsync, servers, packages }) {
  const listed = (values) =>
    Object.entries(values)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ');
  return [
    `machine: ${processor}, ${cores} cores, ${memory}, ${platform}; load ${load.join(' ')}; fsync ${fsync} ms`,
    `versions: Node ${node}, ${listed(packages)}`,
    ...servers.map(
      ({ store, version, durability }) => `server: ${store} ${version}; durable: ${listed(durability)}`,
    ),
  ];
}
