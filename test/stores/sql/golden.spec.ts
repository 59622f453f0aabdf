import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import { graceStatement } from '../../../lib/stores/sql/grace-period.js';
import type { LockDatabase, LockStatements } from '../../../lib/stores/sql/lock-statements.js';
import { createTable } from '../../../lib/stores/sql/lock-table.ddl.js';
import { mysqlDialect } from '../../../lib/stores/sql/mysql/mysql-statements.js';
import { PostgresLocks } from '../../../lib/stores/sql/postgres/postgres-locks.js';
import { postgresStatements } from '../../../lib/stores/sql/postgres/postgres-statements.js';
import { sqliteDialect } from '../../../lib/stores/sql/sqlite/sqlite-statements.js';
import { createTrigger } from '../../../lib/stores/sql/sqlite/sqlite-tokens.js';
import { sentStatements } from './sent-statements.js';

/** `UPDATE_GOLDEN=1 npm test golden` writes the files; without it a file that is missing fails. */
const UPDATES = process.env['UPDATE_GOLDEN'] === '1';
const FOLDER = fileURLToPath(new URL('golden/', import.meta.url));

const postgres = (options: { asyncRelease?: boolean; weak?: boolean } = {}) => {
  const texts = postgresStatements('"public"."locks"', options);
  return {
    kind: 'postgres' as const,
    weak: options.weak ?? false,
    dialect: new PostgresLocks(texts),
    texts,
  };
};
const mysql = (kind: 'mysql' | 'mariadb', skipsLocked: boolean, logsStatements = false) => ({
  kind,
  weak: false,
  dialect: mysqlDialect('`app`.`locks`', { mariadb: kind === 'mariadb', skipsLocked, logsStatements }),
});

interface Case {
  kind: LockDatabase['kind'];
  weak: boolean;
  dialect: LockStatements;
  /** All statements by name; for other databases those that are sent. */
  texts?: Record<string, string>;
}

/** Each database with each option that changes a statement. */
const CASES: Record<string, Case> = {
  postgres: postgres(),
  'postgres-async-release': postgres({ asyncRelease: true }),
  'postgres-weak': postgres({ weak: true }),
  mariadb: mysql('mariadb', true),
  'mariadb-statement-log': mysql('mariadb', true, true),
  'mariadb-10.3': mysql('mariadb', false),
  'mariadb-10.3-statement-log': mysql('mariadb', false, true),
  mysql: mysql('mysql', true),
  'mysql-statement-log': mysql('mysql', true, true),
  'mysql-5': mysql('mysql', false),
  'mysql-5-statement-log': mysql('mysql', false, true),
  sqlite: { kind: 'better-sqlite3', weak: false, dialect: sqliteDialect('"main"."locks"') },
};

for (const [name, { kind, weak, dialect, texts }] of Object.entries(CASES))
  it(`B15 the statements of ${name} are those of golden/${name}.sql`, async () => {
    const table = { table: 'locks', schema: kind === 'better-sqlite3' ? 'main' : 'app', weak };
    const statements = new Map([
      ['create-table', createTable(kind, table)],
      ...(kind === 'better-sqlite3' ? [['create-trigger', createTrigger(table)] as const] : []),
      ...(texts ? Object.entries(texts) : await sentStatements(dialect)),
      ['begin-grace-period', graceStatement({ kind, statements: dialect }, table, 20_000)],
    ]);
    const file = `${FOLDER}${name}.sql`;
    if (UPDATES) writeFileSync(file, textOf(statements));
    expect(folded(textOf(statements))).toBe(folded(readFileSync(file, 'utf8')));
  });

it('B15 there is no golden file that nothing is compared with', () => {
  expect(readdirSync(FOLDER).toSorted()).toEqual(
    Object.keys(CASES)
      .map((name) => `${name}.sql`)
      .toSorted(),
  );
});

function textOf(statements: ReadonlyMap<string, string>): string {
  return [...statements].map(([name, sql]) => `-- ${name}\n${sql.trim()};\n`).join('\n');
}

/** One line for each statement: how it is indented does not matter. */
function folded(text: string): string {
  return text
    .split(/^(?=-- )/m)
    .map((statement) => statement.replaceAll(/\s+/g, ' ').trim())
    .join('\n');
}
