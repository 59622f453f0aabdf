import { LockStoreError } from '../../lock.errors.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import type { LockDatabase } from './lock-statements.js';
import type { Warn } from './sql-executor.js';

/** The version of a MySQL or MariaDB server. */
export interface MysqlVersion {
  /** The version as the server reports it. */
  text: string;
  mariadb: boolean;
  atLeast: (major: number, minor: number) => boolean;
}

/**
 * Checks the version of a PostgreSQL server.
 *
 * @throws LockStoreError for another database, or for a version that is too old
 */
export function assertPostgres(version: string): void {
  const [, major = '0'] = /^PostgreSQL (\d+)/.exec(version) ?? [];
  if (Number(major) < 12)
    throw new LockStoreError(
      `Locks need PostgreSQL 12 or newer, but this is ${version}. Supported are postgres, mysql, mariadb and better-sqlite3.`,
    );
}

/**
 * Reads the version of a MySQL or MariaDB server.
 *
 * @throws LockStoreError for another database, or for a version that is too old
 */
export function mysqlServer(text: string): MysqlVersion {
  const mariadb = /mariadb/i.test(text);
  const [, major = 0, minor = 0] = (/^(\d+)\.(\d+)/.exec(text) ?? []).map(Number);
  const atLeast = (wanted: number, wantedMinor: number): boolean =>
    major > wanted || (major === wanted && minor >= wantedMinor);
  if (/tidb/i.test(text) || !(mariadb ? atLeast(10, 3) : atLeast(5, 6)))
    throw new LockStoreError(`Locks need MySQL 5.6 or MariaDB 10.3 or newer, but this is ${text}.`);
  return { text, mariadb, atLeast };
}

/**
 * Checks that new sessions of a MySQL or MariaDB server commit each statement.
 *
 * @throws LockStoreError if autocommit is off
 */
export function assertAutocommit(autocommit: unknown): void {
  if (Number(autocommit) !== 1)
    throw new LockStoreError(
      'Locks need autocommit, but it is off in new sessions of this server, so no other session would see the locks. Run SET GLOBAL autocommit = 1, and remove autocommit from the configuration of the server.',
    );
}

const CONSEQUENCE = 'another instance then gets a lock while its holder still believes in it';

/**
 * Warns about settings of the server with which a crash can undo grants, and which no
 * statement can override. For weak locks there is no warning, since a crash may delete them
 * anyway.
 */
export async function warnOfLostCommits(
  { kind, table, connections }: LockDatabase,
  warn: Warn,
): Promise<void> {
  if (table.weak || kind === 'better-sqlite3') return;
  await connections.use(OPERATION_LIMIT, async (run) => {
    const [row = {}] = (await run(kind === 'postgres' ? POSTGRES_SETTINGS : MYSQL_SETTINGS)).rows;
    for (const danger of kind === 'postgres' ? postgresDangers(row) : mysqlDangers(row))
      warn('lost commits', danger);
  });
}

const POSTGRES_SETTINGS = `SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes`;
const MYSQL_SETTINGS = `SELECT @@GLOBAL.innodb_flush_log_at_trx_commit AS flush, @@GLOBAL.log_bin AS log_bin, @@GLOBAL.sync_binlog AS sync_binlog`;

function postgresDangers({ fsync, full_page_writes: fullPages }: Record<string, unknown>): string[] {
  const off = [fsync === 'off' && 'fsync', fullPages === 'off' && 'full_page_writes'].filter(Boolean);
  if (off.length === 0) return [];
  return [
    `Locks are not safe in a crash of the machine: PostgreSQL has ${off.join(' and ')} set to off. A crash may undo grants, or damage the table: ${CONSEQUENCE}. Set ${off.join(' and ')} to on.`,
  ];
}

function mysqlDangers({ flush, log_bin: binlog, sync_binlog: syncs }: Record<string, unknown>): string[] {
  const settings: string[] = [];
  const crash = Number(flush) === 0 ? 'the server' : 'the machine';
  if ([0, 2].includes(Number(flush))) settings.push(`innodb_flush_log_at_trx_commit = ${String(flush)}`);
  if (Number(binlog) === 1 && Number(syncs) !== 1) settings.push(`sync_binlog = ${String(syncs)}`);
  if (settings.length === 0) return [];
  return [
    `Locks are not safe in a crash: the server has ${settings.join(' and ')}, so that a commit does not wait for the disk. A crash of ${crash} undoes the grants of about the last second: ${CONSEQUENCE}. To prevent that, set ${settings.map((setting) => setting.replace(/\d+$/, '1')).join(' and ')}.`,
  ];
}
