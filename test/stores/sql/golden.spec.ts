import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import { createTable } from '../../../lib/stores/sql/lock-table.ddl.js';
import { mysqlBatchStatements } from '../../../lib/stores/sql/mysql/mysql-batch-statements.js';
import {
  aloneStatements,
  gracePeriod as mysqlGracePeriod,
  mysqlStatements,
} from '../../../lib/stores/sql/mysql/mysql-statements.js';
import { LOCK_WAIT, LOOK_AT_CLOCK } from '../../../lib/stores/sql/mysql/session-settings.js';
import {
  gracePeriod as postgresGracePeriod,
  postgresStatements,
} from '../../../lib/stores/sql/postgres/postgres-statements.js';
import {
  createTrigger,
  gracePeriod as sqliteGracePeriod,
  sqliteStatements,
} from '../../../lib/stores/sql/sqlite/sqlite-statements.js';

/**
 * `npm run golden` sets this variable and writes the files. Without it, a missing file fails
 * its test.
 */
const UPDATES = process.env['UPDATE_GOLDEN'] === '1';
const FOLDER = fileURLToPath(new URL('golden/', import.meta.url));

const LONGEST = 20_000;
const POSTGRES = '"app"."locks"';
const MYSQL = '`app`.`locks`';
const SQLITE = '"main"."locks"';

/**
 * The statements of each database, for each option and each server that changes some of them.
 */
const STATEMENTS = {
  postgres: () => postgres({}),
  'postgres-async-release': () => postgres({ asyncRelease: true }),
  'postgres-weak': () => postgres({ weak: true }),
  'postgres-alone': () => postgres({ alone: true }),
  'postgres-alone-async-release': () => postgres({ alone: true, asyncRelease: true }),
  mariadb: () => mysql({ mariadb: true, skipsLocked: true, logsStatements: false }),
  'mariadb-statement-log': () => mysql({ mariadb: true, skipsLocked: true, logsStatements: true }),
  'mariadb-10.3': () => mysql({ mariadb: true, skipsLocked: false, logsStatements: false }),
  'mariadb-10.3-statement-log': () => mysql({ mariadb: true, skipsLocked: false, logsStatements: true }),
  'mariadb-alone': () => mariadbAlone({ skipsLocked: true }),
  'mariadb-10.3-alone': () => mariadbAlone({ skipsLocked: false }),
  mysql: () => mysql({ mariadb: false, skipsLocked: true, logsStatements: false }),
  'mysql-statement-log': () => mysql({ mariadb: false, skipsLocked: true, logsStatements: true }),
  'mysql-5': () => mysql({ mariadb: false, skipsLocked: false, logsStatements: false }),
  'mysql-5-statement-log': () => mysql({ mariadb: false, skipsLocked: false, logsStatements: true }),
  sqlite: () => sqlite(),
};

for (const [name, statements] of Object.entries(STATEMENTS))
  it(`B90 the statements of ${name} equal golden/${name}.sql, which npm run golden writes`, () => {
    const file = `${FOLDER}${name}.sql`;
    const text = textOf(statements());
    if (UPDATES) writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, 'utf8'));
  });

it('each golden file belongs to a database', () => {
  expect(readdirSync(FOLDER).toSorted()).toEqual(
    Object.keys(STATEMENTS)
      .map((name) => `${name}.sql`)
      .toSorted(),
  );
});

function postgres(options: {
  asyncRelease?: boolean;
  weak?: boolean;
  alone?: boolean;
}): Record<string, string> {
  const table = { table: 'locks', schema: 'app', weak: options.weak ?? false };
  return {
    'create-table': createTable('postgres', table),
    ...postgresStatements(POSTGRES, options),
    'grace-period': postgresGracePeriod(POSTGRES, LONGEST),
  };
}

function mysql(server: Parameters<typeof mysqlStatements>[1]): Record<string, string> {
  const table = { table: 'locks', schema: 'app', weak: false };
  const isMysql5 = !server.mariadb && !server.skipsLocked; // MySQL 5 renews leases one by one.
  const statements = Object.entries(mysqlStatements(MYSQL, server));
  return {
    'create-table': createTable('mysql', table),
    ...Object.fromEntries(statements.filter(([name]) => !(isMysql5 && name.startsWith('renew-many')))),
    ...(server.skipsLocked && !server.alone ? mysqlBatchStatements(MYSQL, server) : {}),
    'look-at-clock': LOOK_AT_CLOCK,
    ...(server.mariadb ? {} : LOCK_WAIT),
    'grace-period': mysqlGracePeriod(MYSQL, LONGEST),
  };
}

function mariadbAlone({ skipsLocked }: { skipsLocked: boolean }): Record<string, string> {
  const server = { mariadb: true, skipsLocked, logsStatements: false, alone: true };
  const statements = Object.entries({ ...mysql(server), ...aloneStatements(MYSQL) });
  return {
    ...Object.fromEntries(statements.filter(([name]) => !name.startsWith('renew-many'))),
    'grace-period': mysqlGracePeriod(MYSQL, LONGEST, server),
  };
}

function sqlite(): Record<string, string> {
  const table = { table: 'locks', schema: 'main', weak: false };
  return {
    'create-table': createTable('better-sqlite3', table),
    'create-trigger': createTrigger(table),
    ...sqliteStatements(SQLITE),
    'grace-period': sqliteGracePeriod(SQLITE, LONGEST),
  };
}

/** The name and the whole statement, without the indentation of the code. */
function textOf(statements: Record<string, string>): string {
  return Object.entries(statements)
    .map(([name, sql]) => `-- ${name}\n${outdented(sql)};\n`)
    .join('\n');
}

function outdented(sql: string): string {
  const [first = '', ...others] = sql.split('\n').map((line) => line.trimEnd());
  const indents = others.filter((line) => line !== '').map((line) => line.search(/\S/));
  const lines = [first, ...others.map((line) => line.slice(Math.min(...indents)))];
  return lines.filter((line) => line !== '').join('\n');
}
