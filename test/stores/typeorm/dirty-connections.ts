import type { DataSource } from 'typeorm';

/** What an application can leave on a connection; `names`: how a message names it. */
export interface Dirt {
  sql: string[];
  names: RegExp;
}

/** What makes a grant on a connection void, by what people call it. */
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

/** Opens this many connections of the pool, and gives them back as these statements leave them. */
export async function leaveDirty(dataSource: DataSource, count: number, sql: string[]): Promise<void> {
  const runners = Array.from({ length: count }, () => dataSource.createQueryRunner());
  for (const runner of runners) await runner.connect();
  for (const runner of runners) {
    for (const statement of sql) await runner.query(statement).catch(() => undefined);
    await runner.release();
  }
}

/** Leaves each connection that the pool opens from here on as these statements do. */
export function dirtyEach(dataSource: DataSource, sql: string[]): void {
  const { master, pool } = dataSource.driver as any;
  (master ?? pool).on(master ? 'connect' : 'connection', (connection: any) => {
    for (const statement of sql) connection.query(statement, () => undefined);
  });
}
