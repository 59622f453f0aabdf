// `npm run bench` runs this file when everything is installed and built. It measures the
// library, one goal after the other, on private servers.
import { readArguments } from './arguments.mjs';
import { runBench } from './bench.mjs';
import { writeDocuments } from './report/documents.mjs';
import { compareVersions } from './versions.mjs';

// Without a call of process.exit(), no 'exit' event would follow these signals.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
const options = readArguments(process.argv.slice(2));
const exitCode = await run(options);
// Not left to its natural end: what a peer has left open must not keep it.
process.exit(exitCode);

async function run(asked) {
  if (asked.against) return compareVersions(asked);
  if (!asked.documents) return runBench(asked);
  for (const file of await writeDocuments()) console.log(`written: ${file}`);
  return 0;
}
