// `npm run bench` runs this file when everything is installed and built. It measures the
// library, one goal after the other, on private servers.
import { readArguments } from './arguments.mjs';
import { runBench } from './bench.mjs';
import { writeDocuments } from './report/documents.mjs';
import { compareVersions } from './versions.mjs';

// Without these listeners, the two signals would end the process without the event 'exit', at
// which the bench deletes its files.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
const options = readArguments(process.argv.slice(2));
const exitCode = await run(options);
// The process is ended explicitly, since sockets or timers that a peer left open would keep it
// alive.
process.exit(exitCode);

async function run(asked) {
  if (asked.against) return compareVersions(asked);
  if (!asked.documents) return runBench(asked);
  for (const file of await writeDocuments()) console.log(`written: ${file}`);
  return 0;
}
