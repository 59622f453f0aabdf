import { Command } from 'commander';
import { addDdl } from './commands/ddl.command.js';
import { addHold } from './commands/hold.command.js';
import { addInspect } from './commands/inspect.command.js';
import { addList } from './commands/list.command.js';
import { addPause, addResume } from './commands/pause.command.js';
import { addPurge } from './commands/purge.command.js';
import { addRelease } from './commands/release.command.js';
import { addWatch } from './commands/watch.command.js';
import { addConnectionOptions } from './connection.options.js';
import { EXIT_CODES_HELP } from './exit-codes.js';

/**
 * Defines the commands and their options. On an error, the program throws instead of ending
 * the process.
 */
export function createProgram(version: string): Command {
  const program = new Command('nestjs-locked')
    .description('Looks at the locks of an application, in its database, and runs commands under them.')
    .version(version)
    .exitOverride()
    // The file main.ts reports each error, so commander must not print it.
    .configureOutput({ outputError: () => undefined })
    .configureHelp({ showGlobalOptions: true, helpWidth: Math.min(process.stdout.columns || 100, 120) })
    .addHelpText('after', EXIT_CODES_HELP);
  addConnectionOptions(program);
  const commands = [
    addList,
    addInspect,
    addWatch,
    addHold,
    addRelease,
    addPause,
    addResume,
    addPurge,
    addDdl,
  ];
  for (const add of commands) add(program);
  return program;
}
