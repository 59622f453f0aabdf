import { readFileSync } from 'node:fs';
import { reportFailure } from '../../lib/cli/failure.js';
import { createProgram } from '../../lib/cli/program.js';
import type { CliResult } from './cli-process.js';

// The command line imports these modules several at once, which Jest cannot link. Thus they
// are imported before, one after the other.
await import('@nestjs/common');
await import('../../lib/lock-internals.js');
await import('../../lib/lock.service.js');

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

/**
 * Runs a command in this process, as main.ts does in its own. Tests start a process for
 * commands that run programs, since these would write to the output of Jest.
 */
export async function runCli(args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> {
  const before = { env: process.env, exitCode: process.exitCode };
  const stdout = captured(process.stdout);
  const stderr = captured(process.stderr);
  process.env = { ...before.env, LOCKS_URL: '', DEBUG: '', ...env };
  process.exitCode = undefined;
  try {
    await createProgram(version).parseAsync(args, { from: 'user' });
  } catch (error) {
    process.exitCode = reportFailure(error, { json: args.includes('--json') });
  }
  const code = process.exitCode ?? 0;
  Object.assign(process, before);
  return { code, signal: null, stdout: stdout.end(), stderr: stderr.end() };
}

function captured(stream: NodeJS.WriteStream): { end(): string } {
  const write = stream.write.bind(stream);
  let text = '';
  stream.write = (chunk: string | Uint8Array) => {
    text += String(chunk);
    return true;
  };
  return {
    end: () => {
      stream.write = write;
      return text;
    },
  };
}
