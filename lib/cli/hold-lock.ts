import { LockNotAcquiredError } from '../lock.errors.js';
import type { LockOptions } from '../options/lock.options.js';
import type { LockService } from '../lock.service.js';
import { EXIT } from './exit-codes.js';
import { reportFailure } from './failure.js';
import { warn } from './output.js';
import { printable } from './text-table.js';
import { runCommand, signalStatus, STOP_SIGNALS } from './run-command.js';

/**
 * The command that `hold` runs, the lock under which it runs, and how its failures are
 * reported.
 */
export interface HoldTerms {
  key: string;
  command: readonly string[];
  lock: LockOptions;
  killAfter: number;
  conflictExitCode: number;
  json: boolean | undefined;
}

/**
 * Thrown inside of `run` when the command's exit code is not 0, so that the run counts as
 * failed.
 */
class CommandFailed extends Error {
  constructor(readonly status: number) {
    super(`The command ended with ${status}.`);
  }
}

/**
 * The reason to end the wait for the lock when a signal comes before the command was started.
 */
class Interrupted extends Error {
  constructor(readonly signal: NodeJS.Signals) {
    super(`Stopped by ${signal}.`);
  }
}

/** Runs the command under the lock, and resolves to the exit code of this process. */
export async function holdLock(locks: LockService, terms: HoldTerms): Promise<number> {
  const { key, command, killAfter, conflictExitCode, json } = terms;
  const tell = (message: string): void => warn(message, json);
  const interruption = new AbortController();
  // From here on, a signal does not end this process at once. It aborts the wait for the lock
  // or ends the command, and then the lock is released.
  const interrupt = (signal: NodeJS.Signals): void => interruption.abort(new Interrupted(signal));
  for (const signal of STOP_SIGNALS) process.on(signal, interrupt);
  locks.events.on('renewFailed', ({ error }) => tell(`The lock could not be renewed: ${error.message}`));
  locks.events.on('storeError', ({ operation, error }) => {
    if (operation === 'release')
      tell(`The lock could not be released, and ends with its ttl: ${error.message}`);
  });
  try {
    await locks.run(
      key,
      async (lock) => {
        interruption.signal.throwIfAborted();
        lock.signal.addEventListener('abort', () =>
          tell(`Lock "${printable(key)}" is lost. The command is stopped.`),
        );
        const env = { LOCK_KEY: key, LOCK_FENCING_TOKEN: String(lock.fencingToken) };
        const status = await runCommand(command, { env, stop: lock.signal, killAfter, warn: tell });
        // If the lock was lost, another holder may have run at the same time as the command.
        lock.assertHeld();
        if (status !== EXIT.done) throw new CommandFailed(status);
      },
      { ...terms.lock, signal: interruption.signal },
    );
    return EXIT.done;
  } catch (error) {
    if (error instanceof CommandFailed) return error.status;
    if (error instanceof Interrupted) return signalStatus(error.signal);
    if (error instanceof LockNotAcquiredError)
      return reportFailure(error, { json, exitCode: conflictExitCode });
    throw error;
  } finally {
    for (const signal of STOP_SIGNALS) process.off(signal, interrupt);
  }
}
