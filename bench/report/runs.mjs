/** Returns a line for each run that measured rows: when, where and with which command. */
export function runsOf(rows) {
  const runs = new Map();
  for (const row of rows) {
    const ids = runs.get(row.run) ?? new Set();
    runs.set(row.run, ids.add(row.id));
  }
  return [...runs]
    .toSorted(([a], [b]) => b.date.localeCompare(a.date))
    .map(([run, ids]) => `${[...ids].join(', ')}: ${lineOf(run)}`)
    .join('\\\n');
}

function lineOf({ date, command, machine: { processor, cores, platform, node, fsync, servers } }) {
  const day = new Date(date).toLocaleDateString('en-GB', {
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    timeZone: 'UTC',
  });
  const databases = servers.map(({ store, version }) => `${store} ${version}`).join(', ');
  return `\`${command}\`, ${day}, ${cores} cores (${processor}, ${platform}), Node ${node}, an fsync of ${fsync} ms, ${databases}.`;
}
