/** Describes the machine and the versions in lines for people. */
export function machineLines({ processor, cores, memory, platform, node, load, fsync, servers, packages }) {
  return [
    `machine: ${processor}, ${cores} cores, ${memory}, ${platform}; load ${load.join(' ')}; fsync ${fsync} ms`,
    `versions: Node ${node}, ${listed(packages)}`,
    ...servers.map(
      ({ store, version, durability }) => `server: ${store} ${version}; durable: ${listed(durability)}`,
    ),
  ];
}

function listed(values) {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}
