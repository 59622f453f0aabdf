import { LockStoreError } from '../../lock.errors.js';

/** What is known of a server of the MySQL family. */
export interface MysqlVersion {
  /** As it says itself. */
  text: string;
  mariadb: boolean;
  atLeast: (major: number, minor: number) => boolean;
}

/** @throws LockStoreError when it is another database, or too old */
export function assertPostgres(version: string): void {
  const [, major = '0'] = /^PostgreSQL (\d+)/.exec(version) ?? [];
  if (Number(major) < 12)
    throw new LockStoreError(
      `Locks need PostgreSQL 12 or newer, but this is ${version}. Supported are postgres, mysql, mariadb and better-sqlite3.`,
    );
}

/** @throws LockStoreError when it is another database, or too old */
export function mysqlServer(text: string): MysqlVersion {
  const mariadb = /mariadb/i.test(text);
  const [, major = 0, minor = 0] = (/^(\d+)\.(\d+)/.exec(text) ?? []).map(Number);
  const atLeast = (wanted: number, wantedMinor: number): boolean =>
    major > wanted || (major === wanted && minor >= wantedMinor);
  if (/tidb/i.test(text) || !(mariadb ? atLeast(10, 3) : atLeast(5, 6)))
    throw new LockStoreError(`Locks need MySQL 5.6 or MariaDB 10.3 or newer, but this is ${text}.`);
  return { text, mariadb, atLeast };
}
