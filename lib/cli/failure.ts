import { CommanderError } from 'commander';
import { LockError, LockLostError, LockNotAcquiredError, LockStoreError } from '../lock.errors.js';
import { EXIT } from './exit-codes.js';
import { printable } from './text-table.js';
import { warn, withoutPasswords } from './output.js';

/** How `reportFailure` prints a failure, and which exit code it returns. */
export interface ReportOptions {
  json?: boolean;
  /** The exit code to return. Default: the exit code for this kind of failure. */
  exitCode?: number;
}

/** Reports a failure as one line on standard error, and returns its exit code. */
export function reportFailure(error: unknown, { json = false, ...options }: ReportOptions): number {
  if (error instanceof CommanderError && (error.exitCode === 0 || error.code === 'commander.help'))
    // Commander has printed the help or the version already.
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  const exitCode = options.exitCode ?? exitCodeOf(error);
  const message = messageOf(error);
  if (json) {
    const name = error instanceof LockError ? error.name : 'Error';
    process.stderr.write(
      `${JSON.stringify({ error: { name, message: withoutPasswords(message), exitCode } })}\n`,
    );
  } else warn(printable(message.replaceAll(/\s*\n\s*/g, ' ')));
  if (process.env.DEBUG) process.stderr.write(`${withoutPasswords(stacksOf(error))}\n`);
  return exitCode;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof LockStoreError) return EXIT.unavailable;
  if (error instanceof LockNotAcquiredError) return EXIT.conflict;
  if (error instanceof LockLostError) return EXIT.lost;
  return error instanceof LockError || error instanceof CommanderError ? EXIT.usage : EXIT.internal;
}

function messageOf(error: unknown): string {
  if (error instanceof CommanderError)
    return `${error.message.replace(/^error: /, '').replace(/([^.?)])$/, '$1.')} See nestjs-locked --help.`;
  // The message of the error tells developers to call LockAdmin.resume(). A user of the
  // command line needs the command.
  if (error instanceof LockNotAcquiredError && error.reason === 'paused')
    return `Lock "${error.key}" was not acquired: it is paused, for all instances. Run nestjs-locked resume to end the pause.`;
  return error instanceof Error ? error.message : String(error);
}

function stacksOf(error: unknown): string {
  const stacks: string[] = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) stacks.push(cause.stack ?? '');
  return stacks.join('\ncaused by ');
}
