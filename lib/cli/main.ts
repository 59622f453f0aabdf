#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { reportFailure } from './failure.js';
import { createProgram } from './program.js';

const manifest = new URL('../../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
const end = process.argv.indexOf('--');
const ours = process.argv.slice(2, end < 0 ? undefined : end);

// The reader of the output, such as head(1), has closed it and wants no more.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

try {
  await createProgram(version).parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, { json: ours.includes('--json') });
}
// The process ends now. Connections to a server that does not answer would keep it alive for
// long.
process.stdout.write('', () => process.exit());
