import type { Command } from 'commander';
import { withLocks, type ConnectionOptions } from '../connection.options.js';
import { printJson, printLine } from '../output.js';
import { printable } from '../text-table.js';

export function addPause(program: Command): void {
  program
    .command('pause')
    .description(
      'let no call of any instance acquire the key until it is resumed; the present holder keeps the lock',
    )
    .argument('<key>')
    .action(async (key: string, _, command: Command) => {
      const { json, ...options } = command.optsWithGlobals<ConnectionOptions>();
      const changed = await withLocks(options, (locks) => locks.admin.pause(key));
      if (json) printJson({ key, paused: true, changed });
      else printLine(`"${printable(key)}" ${changed ? 'is paused' : 'was paused before'}.`);
    });
}

export function addResume(program: Command): void {
  program
    .command('resume')
    .description('end a pause')
    .argument('<key>')
    .action(async (key: string, _, command: Command) => {
      const { json, ...options } = command.optsWithGlobals<ConnectionOptions>();
      const changed = await withLocks(options, (locks) => locks.admin.resume(key));
      if (json) printJson({ key, paused: false, changed });
      else printLine(`"${printable(key)}" ${changed ? 'is no longer paused' : 'was not paused'}.`);
    });
}
