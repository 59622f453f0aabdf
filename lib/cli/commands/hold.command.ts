import { InvalidArgumentError, Option, type Command } from 'commander';
import { LockError } from '../../lock.errors.js';
import { withLocks, type ConnectionOptions } from '../connection.options.js';
import { durationArgument } from '../duration.argument.js';
import { EXIT } from '../exit-codes.js';
import { holdLock } from '../hold-lock.js';
import { DEFAULTS } from '../../options/defaults.js';

const FORM = 'nestjs-locked hold KEY -- command [argument...]';

type HoldOptions = ConnectionOptions & {
  wait?: number;
  ttl?: number;
  minHold?: number;
  label?: string;
  killAfter: number;
  conflictExitCode: number;
};

export function addHold(program: Command): void {
  program
    .command('hold')
    .description(
      'run a command under a lock, renew the lock while the command runs, and release it afterwards; the command finds LOCK_KEY and LOCK_FENCING_TOKEN in its environment',
    )
    .usage('[options] <key> -- <command> [argument...]')
    .argument('<key>')
    .argument('[command...]')
    .addOption(
      new Option('-w, --wait <duration>', 'how long to wait for a busy lock, such as 30s, or Infinity')
        .argParser(durationArgument('The wait', { min: 0, infinite: true }))
        .conflicts('nonblock'),
    )
    .option('-n, --nonblock', 'do not wait (the default)')
    .option(
      '-E, --conflict-exit-code <number>',
      'the exit code when the lock is busy',
      exitCode,
      EXIT.conflict,
    )
    .option(
      '--ttl <duration>',
      'when this process dies, the lock is free after this time (default: 30s)',
      durationArgument('The ttl', { min: DEFAULTS.smallestTtl, infinite: true }),
    )
    .option(
      '--min-hold <duration>',
      'keep the key taken at least this long, for machines whose clocks differ',
      durationArgument('The minimum hold', { min: 0 }),
    )
    .option('--label <text>', 'the name of the holder, for people (default: host:pid)')
    .addOption(
      new Option('--kill-after <duration>', 'when the lock is lost: the time from SIGTERM to SIGKILL')
        .argParser(durationArgument('The time from SIGTERM to SIGKILL', { min: 0 }))
        .default(10_000, '10s'),
    )
    .action(async (key: string, command: string[], _, self: Command) => {
      if (!command[0]) throw new LockError(`hold needs a command to run: ${FORM}`);
      const options = self.optsWithGlobals<HoldOptions>();
      const { wait, ttl, minHold, label, killAfter, conflictExitCode, json } = options;
      const lock = { wait, ttl, minHold, label };
      const terms = { key, command, lock, killAfter, conflictExitCode, json };
      process.exitCode = await withLocks(options, (locks) => holdLock(locks, terms));
    });
}

function exitCode(text: string): number {
  if (/^\d{1,3}$/.test(text) && Number(text) <= 255) return Number(text);
  throw new InvalidArgumentError('It must be a number from 0 to 255.');
}
