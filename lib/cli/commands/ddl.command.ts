import { Option, type Command } from 'commander';
import { LockError } from '../../lock.errors.js';
import { createTable, type LockTableDatabase } from '../../stores/sql/lock-table.ddl.js';
import { readTable } from '../../stores/sql/sql-store.options.js';
import { addressOf, type ConnectionOptions } from '../connection.options.js';
import { printJson, printLine } from '../output.js';

const DIALECTS = ['postgres', 'mysql', 'mariadb', 'sqlite'] as const;

type DdlOptions = ConnectionOptions & { dialect?: (typeof DIALECTS)[number] };

export function addDdl(program: Command): void {
  program
    .command('ddl')
    .description('print the statement that creates the table, without a connection to the database')
    .addOption(
      new Option(
        '--dialect <name>',
        'the database to print the statement for (default: that of the URL)',
      ).choices(DIALECTS),
    )
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<DdlOptions>();
      const { table, schema, weak, json } = options;
      const ddl = createTable(databaseOf(options), readTable({ table, schema, weak }));
      if (json) printJson({ ddl });
      else printLine(`${ddl};`);
    });
}

function databaseOf({ dialect, ...options }: DdlOptions): LockTableDatabase {
  if (dialect !== undefined) return dialect;
  if (!options.url)
    throw new LockError(`No database given: pass --dialect (${DIALECTS.join(', ')}), or give a URL.`);
  const address = addressOf(options);
  if (address.kind === 'mongodb')
    throw new LockError('MongoDB needs no table: the first lock makes the collection.');
  return address.kind === 'sqlite' ? 'sqlite' : address.type;
}
