import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { LONGEST_TIMER } from '../options/duration.js';
import { EXIT } from './exit-codes.js';

/** What asks a program to end. */
export const STOP_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

/** A terminal sends these to all programs in the foreground by itself: forwarded, the command would have them twice. */
const BY_TERMINAL = new Set<NodeJS.Signals>(['SIGINT', 'SIGQUIT']);

/** How a command is run. */
export interface CommandTerms {
  /** Added to the environment. */
  env: Record<string, string>;
  /** When it is aborted, the command is sent SIGTERM... */
  stop: AbortSignal;
  /** ...and so many milliseconds later SIGKILL. */
  killAfter: number;
  /** Told why it could not be run, or stopped. */
  warn: (message: string) => void;
}

/** Runs a command on this process's own input and output, forwards signals to it, and gives its exit code as a shell has it. */
export async function runCommand(command: readonly string[], terms: CommandTerms): Promise<number> {
  const [file = '', ...args] = command;
  let child: ChildProcess;
  try {
    child = spawn(file, args, { stdio: 'inherit', env: { ...process.env, ...terms.env } });
  } catch (error) {
    return notStarted(file, error, terms); // for most reasons it tells by an event, for some at once
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

/** The exit code that stands for an end by this signal. */
export function signalStatus(signal: NodeJS.Signals): number {
  return EXIT.signal + constants.signals[signal];
}

function statusOf(child: ChildProcess, file: string, terms: CommandTerms): Promise<number> {
  return new Promise((resolve) => {
    child.on('error', (error) => {
      if (child.pid === undefined) resolve(notStarted(file, error, terms));
      else terms.warn(`The command could not be sent a signal: ${error.message}`);
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
