import type { Command } from 'commander';
import { allLocks, pagesOf } from '../all-locks.js';
import { withLocks, type ConnectionOptions } from '../connection.options.js';
import { countText, LOCK_COLUMNS } from '../lock-text.js';
import { printJson, printLine } from '../output.js';
import { tableLines } from '../text-table.js';

export function addList(program: Command): void {
  program
    .command('list')
    .description('print the locks that are held now, ordered by key')
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<ConnectionOptions>();
      await withLocks(options, async (locks) => {
        if (options.json) {
          for await (const page of pagesOf(locks)) page.forEach(printJson);
          return;
        }
        const held = await allLocks(locks);
        if (held.length > 0) tableLines(LOCK_COLUMNS, held).forEach(printLine);
        else printLine(countText(0));
      });
    });
}
