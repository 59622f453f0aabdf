import { LockError } from '../../lock.errors.js';

/** The name of the table that keeps the locks; see {@link LockTableOptions}. */
export interface LockTable {
  table: string;
  schema?: string | undefined;
  weak: boolean;
}

/**
 * The key of the advisory lock under which each process creates the table. Without it,
 * PostgreSQL's IF NOT EXISTS fails when several processes create the table at once.
 */
export const CREATION_LOCK = 4_973_615_208;

/**
 * The databases that can have a lock table; `sqlite` means the same as `better-sqlite3`.
 * @publicApi
 */
export type LockTableDatabase = 'postgres' | 'mysql' | 'mariadb' | 'sqlite' | 'better-sqlite3';

// Times are epoch milliseconds, since values of DATETIME and TIMESTAMP columns shift with the
// time zone and at the end of summer time. With a fillfactor of 50, PostgreSQL can update a
// row within its page, so the index does not have to change.
const postgres = (
  table: string,
  weak: boolean,
) => `CREATE ${weak ? 'UNLOGGED ' : ''}TABLE IF NOT EXISTS ${table} (
  key varchar(255) COLLATE "C" NOT NULL PRIMARY KEY,
  owner varchar(64),
  token bigint NOT NULL,
  expires_ms bigint NOT NULL,
  label varchar(255),
  started_ms bigint,
  renewed_ms bigint,
  tick_ms bigint,
  paused boolean NOT NULL DEFAULT false,
  last_label varchar(255),
  last_started_ms bigint,
  last_ended_ms bigint,
  last_outcome varchar(16),
  waiting varchar(16)[]
) WITH (fillfactor = 50)`;

// Keys and owners are bytes. As text, 'k', 'K' and 'k ' would share one lock, and connections
// with different character sets would have different locks for one key.
const mysql = (table: string) => `CREATE TABLE IF NOT EXISTS ${table} (
  \`key\` varbinary(255) NOT NULL PRIMARY KEY,
  owner varbinary(64),
  token bigint NOT NULL,
  expires_ms bigint NOT NULL,
  label varchar(255),
  started_ms bigint,
  renewed_ms bigint,
  tick_ms bigint,
  paused boolean NOT NULL DEFAULT false,
  last_label varchar(255),
  last_started_ms bigint,
  last_ended_ms bigint,
  last_outcome varchar(16)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4`;

const sqlite = (table: string) => `CREATE TABLE IF NOT EXISTS ${table} (
  key text NOT NULL PRIMARY KEY,
  owner text,
  token integer NOT NULL,
  expires_ms integer NOT NULL,
  label text,
  started_ms integer,
  renewed_ms integer,
  tick_ms integer,
  paused integer NOT NULL DEFAULT 0,
  last_label text,
  last_started_ms integer,
  last_ended_ms integer,
  last_outcome text
) WITHOUT ROWID`;

/** Returns the `CREATE TABLE` statement of a database. */
export function createTable(type: LockTableDatabase, table: LockTable): string {
  const name = tableName(type, table);
  if (type === 'postgres') return postgres(name, table.weak);
  return type === 'mysql' || type === 'mariadb' ? mysql(name) : sqlite(name);
}

/** Returns the name of the table for use in SQL, quoted as the database requires. */
export function tableName(type: string, table: LockTable): string {
  if (type === 'postgres') return quoted(table, '"');
  const mysqlOrMariadb = type === 'mysql' || type === 'mariadb';
  if (mysqlOrMariadb && table.weak)
    throw new LockError(
      `There are no weak locks in ${type}, since all its tables survive a crash. Leave out the option weak; or use sqlSessionStore() or typeOrmSessionStore(), whose locks write nothing, or a store in PostgreSQL, SQLite or MongoDB.`,
    );
  if (mysqlOrMariadb) return quoted(table, '`');
  if (type !== 'sqlite' && type !== 'better-sqlite3')
    throw new LockError(
      `There is no lock table for ${type}, but only for postgres, mysql, mariadb and better-sqlite3.`,
    );
  if (table.schema !== undefined && table.schema !== 'main')
    throw new LockError(
      `SQLite has no schemas: leave out the option schema ("${table.schema}"), or use another database.`,
    );
  return quoted(table, '"');
}

/** Returns the name of a table for messages, such as `app.locks`. */
export function nameOf({ table, schema }: LockTable): string {
  return schema ? `${schema}.${table}` : table;
}

/** Returns the name of a table for use in SQL, with every part quoted. */
export function quoted({ table, schema }: LockTable, quote: '"' | '`'): string {
  return [schema, table]
    .filter((segment) => segment !== undefined)
    .map((segment) => quote + segment.replaceAll(quote, quote + quote) + quote)
    .join('.');
}
