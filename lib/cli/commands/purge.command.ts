import type { Command } from 'commander';
import { withLocks, type ConnectionOptions } from '../connection.options.js';
import { durationArgument } from '../duration.argument.js';
import { printJson, printLine } from '../output.js';

export function addPurge(program: Command): void {
  program
    .command('purge')
    .description(
      'delete free keys, and what is known of their last runs, if they were not used for the time given',
    )
    .requiredOption(
      '--older-than <duration>',
      'such as 90d; longer than the longest pause between two runs of a job',
      durationArgument('The age', { min: 0 }),
    )
    .action(async (_, command: Command) => {
      const { olderThan, json, ...options } = command.optsWithGlobals<
        ConnectionOptions & { olderThan: number }
      >();
      const purged = await withLocks(options, (locks) => locks.admin.purge({ olderThan }));
      if (json) printJson({ purged });
      else printLine(`${purged} ${purged === 1 ? 'key' : 'keys'} deleted`);
    });
}
