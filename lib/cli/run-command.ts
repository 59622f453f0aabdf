import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { LONGEST_TIMER } from '../options/duration.js';
import { EXIT } from './exit-codes.js';

/** The signals that end a program. */
export const STOP_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

/**
 * A terminal sends SIGINT and SIGQUIT to all programs in the foreground. If this process
 * forwarded such a signal, the command would receive it twice.
 */
const BY_TERMINAL = new Set<NodeJS.Signals>(['SIGINT', 'SIGQUIT']);

/**
 * What a command runs with: its environment, the signal that stops it, and the receiver of
 * warnings.
 */
export interface CommandTerms {
  /** Variables that are added to the environment of the command. */
  env: Record<string, string>;
  /** When this signal aborts, the command receives SIGTERM. */
  stop: AbortSignal;
  /** How many milliseconds the command may run on after SIGTERM before it receives SIGKILL. */
  killAfter: number;
  /** Receives the reason why the command could not be run or stopped. */
  warn: (message: string) => void;
}

/**
 * Runs a command on the input and output of this process, and forwards signals to it. Resolves
 * to its exit code, as a shell would report it.
 */
export async function runCommand(command: readonly string[], terms: CommandTerms): Promise<number> {
  const [file = '', ...args] = command;
  let child: ChildProcess;
  try {
    child = spawn(file, args, { stdio: 'inherit', env: { ...process.env, ...terms.env } });
  } catch (error) {
    // Most failures of spawn() come as the event `error`, but some are thrown.
    return notStarted(file, error, terms);
  }
  const forward = (signal: NodeJS.Signals): void => {
    if (!BY_TERMINAL.has(signal) || !hasTerminal()) child.kill(signal);
  };
  let killing: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill('SIGTERM');
    killing = setTimeout(() => child.kill('SIGKILL'), Math.min(terms.killAfter, LONGEST_TIMER));
  };
  for (const signal of STOP_SIGNALS) process.on(signal, forward);
  if (terms.stop.aborted) stop();
  else terms.stop.addEventListener('abort', stop, { once: true });
  try {
    return await statusOf(child, file, terms);
  } finally {
    clearTimeout(killing);
    terms.stop.removeEventListener('abort', stop);
    for (const signal of STOP_SIGNALS) process.off(signal, forward);
  }
}

/**
 * The exit code that a shell reports for a command that was ended by this signal: 128 plus its
 * number.
 */
export function signalStatus(signal: NodeJS.Signals): number {
  return EXIT.signal + constants.signals[signal];
}

function statusOf(child: ChildProcess, file: string, terms: CommandTerms): Promise<number> {
  return new Promise((resolve) => {
    child.on('error', (error) => {
      if (child.pid === undefined) resolve(notStarted(file, error, terms));
      else terms.warn(`No signal could be sent to the command: ${error.message}`);
    });
    child.once('exit', (code, signal) => resolve(signal ? signalStatus(signal) : (code ?? EXIT.internal)));
  });
}

function notStarted(file: string, error: unknown, { warn }: CommandTerms): number {
  const { code } = error as NodeJS.ErrnoException;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  warn(missing ? `There is no command "${file}".` : `The command "${file}" cannot be executed (${code}).`);
  return missing ? EXIT.notFound : EXIT.notExecutable;
}

function hasTerminal(): boolean {
  return process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
}
