import { Option, type Command } from 'commander';
import { LONGEST_TIMER } from '../../options/duration.js';
import { withLocks, type ConnectionOptions } from '../connection.options.js';
import { durationArgument } from '../duration.argument.js';
import { spanText } from '../lock-text.js';
import { WatchLog } from '../watch-log.js';
import { watchLocks } from '../watch-locks.js';
import { WatchScreen } from '../watch-screen.js';

export function addWatch(program: Command): void {
  program
    .command('watch')
    .description(
      'show the locks that are held as a live table; where there is no terminal, a line for each change',
    )
    .addOption(
      new Option('--interval <duration>', 'how often to read the locks from the database')
        .argParser(durationArgument('The interval', { min: 100 }))
        .default(1_000, '1s'),
    )
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<ConnectionOptions & { interval: number }>();
      const { json = false, interval } = options;
      await withLocks(options, (locks) => {
        const live = process.stdout.isTTY && process.env.TERM !== 'dumb' && !json;
        const view = live ? new WatchScreen(process.stdout, spanText(interval)) : new WatchLog(json);
        return watchLocks(locks, view, Math.min(interval, LONGEST_TIMER));
      });
    });
}
