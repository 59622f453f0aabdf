// What `npm run bench` runs when all is installed and built: measures the library, one goal after the other, on private servers.
import { parseArgs } from 'node:util';
import { runBench } from './bench.mjs';
import { STORES } from './servers.mjs';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    store: { type: 'string', default: STORES.join(',') },
    quick: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const listOf = (text) => text?.split(',').map((word) => word.trim());
const stores = listOf(values.store);
const unknown = stores.filter((store) => !STORES.includes(store));
if (unknown.length > 0) {
  console.error(`--store names "${unknown.join(', ')}"; there are: ${STORES.join(', ')}`);
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130)); // see to it that 'exit' is heard
const exitCode = await runBench({
  only: listOf(values.only?.toUpperCase()),
  stores,
  quick: values.quick,
  peers: values.peers,
  out: values.out,
  command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
});
// Not left to its natural end: what a peer has left open must not keep it.
process.exit(exitCode);
