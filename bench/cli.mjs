// What `npm run bench` runs when all is installed and built: measures the library, one goal after the other, on private servers.
import { readArguments } from './arguments.mjs';
import { runBench } from './bench.mjs';
import { writeDocuments } from './report/documents.mjs';
import { compareVersions } from './versions.mjs';

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130)); // see to it that 'exit' is heard
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
