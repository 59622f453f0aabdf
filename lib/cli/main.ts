#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { reportFailure } from './failure.js';
import { createProgram } from './program.js';

const manifest = new URL('../../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
const end = process.argv.indexOf('--');
const ours = process.argv.slice(2, end < 0 ? undefined : end);

// A program that reads the output through a pipe, such as head(1), may close the pipe when it
// has enough. That is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

try {
  await createProgram(version).parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, { json: ours.includes('--json') });
}
// Exit as soon as the output is written: otherwise a connection to a server that does not
// answer would keep this process alive for long.
process.stdout.write('', () => process.exit());
