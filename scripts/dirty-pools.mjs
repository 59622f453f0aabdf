// npm run dirty-pools: two processes take 10,000 locks on pools. A third of the connections is
// left in a transaction, on another schema, without autocommit or with another clock. Fails
// if a key has two holders, or if an acquisition fails.
// npm run dirty-pools -- --store postgres,mariadb --locks 1000
import { parseArgs } from 'node:util';
import { ready } from './ready.mjs';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'postgres,mysql,mariadb' },
    locks: { type: 'string', default: '10000' },
  },
});
await ready({ build: true });
const { lockOnDirtyPools } = await import('../test/dirty-pools/dirty-pools.mjs');
const { serverOf, selectStores } = await import('../test/servers/stores.mjs');

for (const store of selectStores(values.store)) {
  const server = await serverOf(store).start();
  try {
    const began = performance.now();
    const type = store === 'postgres' || store === 'mariadb' ? store : 'mysql';
    const results = await lockOnDirtyPools({
      options: { type, ...partsOf(server.url) },
      locks: Number(values.locks),
    });
    const sum = (what) => results.reduce((total, result) => total + result[what], 0);
    const failures = results.flatMap((result) => result.failures);
    const seconds = ((performance.now() - began) / 1_000).toFixed(0);
    console.log(
      `${store} ${server.version}: ${sum('granted')} locks, ${sum('left')} connections left dirty, ${failures.length} failures, ${seconds} s`,
    );
    for (const failure of failures) console.log(`  ${failure}`);
    if (failures.length > 0) process.exitCode = 1;
  } finally {
    await server.stop();
  }
}

function partsOf(address) {
  const { hostname: host, port, username, password, pathname } = new URL(address);
  return { host, port: Number(port), username, password, database: pathname.slice(1) };
}
