import type { Command } from 'commander';
import { withLocks, type ConnectionOptions } from '../connection.options.js';
import { EXIT } from '../exit-codes.js';
import { holderText } from '../lock-text.js';
import { printJson, printLine } from '../output.js';
import { printable } from '../text-table.js';

export function addRelease(program: Command): void {
  program
    .command('release')
    .description(
      'free a key, whatever its holder; the holder notices it at its next renewal, and until then two processes may believe that they hold it',
    )
    .argument('<key>')
    .requiredOption('--reason <text>', 'why the key is freed; it is printed with the result')
    .action(async (key: string, _, command: Command) => {
      const { reason, json, ...options } = command.optsWithGlobals<ConnectionOptions & { reason: string }>();
      await withLocks(options, async (locks) => {
        const before = await locks.admin.inspect(key);
        const released = await locks.admin.forceRelease(key, { reason });
        if (!released) process.exitCode = EXIT.conflict;
        const holder = before.state === 'held' ? before.holder : undefined;
        if (json) return printJson({ key, released, reason, ...(released && { holder }) });
        if (!released) return printLine(`"${printable(key)}" was not held.`);
        const by = holder ? `, which was held by ${holderText(holder)}` : '';
        printLine(`Released "${printable(key)}"${by}: ${reason}`);
      });
    });
}
