import type { DataSource } from 'typeorm';

/**
 * Statements that make a connection dirty. `names` has to match the store's message about it.
 */
export interface Dirt {
  sql: string[];
  names: RegExp;
}

/** The kinds of dirt for which the store does not accept a grant on a connection. */
export function dirt(database: string): Record<string, Dirt> {
  const transaction = { sql: ['START TRANSACTION'], names: /transaction that the application left open/ };
  if (database === 'postgres')
    return {
      'an open transaction': transaction,
      'a failed transaction': {
        sql: ['START TRANSACTION', 'SELECT 1/0'],
        names: /failed transaction that the application left open/,
      },
    };
  return {
    'an open transaction': transaction,
    'autocommit off': { sql: ['SET autocommit = 0'], names: /autocommit off.*SET autocommit = 0/ },
    'a clock that stands still': {
      sql: ['SET timestamp = UNIX_TIMESTAMP() - 3600'],
      names: /set by SET timestamp.*SET timestamp = DEFAULT/,
    },
    'a clock that is ahead': {
      sql: ['SET timestamp = UNIX_TIMESTAMP() + 3600'],
      names: /set by SET timestamp.*SET timestamp = DEFAULT/,
    },
  };
}

/**
 * Settings that applications forget to reset in a session. With none of them may a key have
 * two holders.
 */
export function settings(database: string): Record<string, string[]> {
  if (database === 'postgres')
    return {
      'a read-only default': ['SET default_transaction_read_only = on'],
      'the isolation level serializable': ["SET default_transaction_isolation = 'serializable'"],
      'another client_encoding': ["SET client_encoding = 'LATIN1'"],
      'another role': ['SET ROLE pg_monitor'],
      'another session_authorization': ['SET SESSION AUTHORIZATION pg_monitor'],
      'a statement_timeout of a millisecond': ['SET statement_timeout = 1'],
      'a lock_timeout of a millisecond': ['SET lock_timeout = 1'],
      'another time zone': ["SET TIME ZONE 'Asia/Kathmandu'", "SET datestyle = 'German'"],
      'strings with backslashes': ['SET standard_conforming_strings = off'],
    };
  const modes = [
    'NO_BACKSLASH_ESCAPES',
    'ANSI_QUOTES',
    'PAD_CHAR_TO_FULL_LENGTH',
    '',
    ...(database === 'mariadb' ? ['ORACLE', 'SIMULTANEOUS_ASSIGNMENT'] : []),
  ];
  return {
    ...Object.fromEntries(modes.map((mode) => [`the sql_mode "${mode}"`, [`SET sql_mode = '${mode}'`]])),
    'another time zone': ["SET time_zone = '-11:00'"],
    'the character set latin1': ['SET NAMES latin1'],
    'the character set ascii for results': ["SET character_set_results = 'ascii'"],
    'a read-only default': ['SET SESSION TRANSACTION READ ONLY'],
    'a read-only next transaction': ['SET TRANSACTION READ ONLY'],
    'the isolation level serializable': ['SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE'],
    'the isolation level read uncommitted': ['SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED'],
    'LOCK TABLES': ['CREATE TABLE IF NOT EXISTS app_table (id int)', 'LOCK TABLES app_table READ'],
    'a transaction of XA': ["XA START 'app'"],
    'the completion type CHAIN': ['SET completion_type = CHAIN'],
    'an sql_select_limit of a row': ['SET sql_select_limit = 1'],
    'safe updates': ['SET sql_safe_updates = 1'],
  };
}

/**
 * Takes this many connections from the pool, runs the statements on each, and returns them to
 * the pool.
 */
export async function leaveDirty(dataSource: DataSource, count: number, sql: string[]): Promise<void> {
  const runners = Array.from({ length: count }, () => dataSource.createQueryRunner());
  for (const runner of runners) await runner.connect();
  for (const runner of runners) {
    for (const statement of sql) await runner.query(statement).catch(() => undefined);
    await runner.release();
  }
}

/** Runs these statements on each connection that the pool opens from now on. */
export function dirtyEach(dataSource: DataSource, sql: string[]): void {
  const { master, pool } = dataSource.driver as any;
  (master ?? pool).on(master ? 'connect' : 'connection', (connection: any) => {
    for (const statement of sql) connection.query(statement, () => undefined);
  });
}
