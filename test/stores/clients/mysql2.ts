import { createPool } from 'mysql2';
import { createPool as createPromisePool, type PoolConnection } from 'mysql2/promise';
import { fromMysql2 } from '../../../lib/stores/sql/index.js';
import { serverOf, type ClientKind, type TestClient } from './client-kind.js';

/** The pool of mysql2 with promises. */
export const mysql2Promise: ClientKind = {
  name: 'mysql2/promise',
  stores: ['mariadb', 'mysql', 'mysql56'],

  async open(target, connectionLimit = 6): Promise<TestClient<PoolConnection>> {
    const pool = createPromisePool({ ...serverOf(target), connectionLimit });
    const idle = await pool.getConnection();
    idle.release();
    return {
      executor: () => fromMysql2(pool),
      query: (sql, connection) => (connection ?? pool).query(sql),
      transaction: (work) => inTransaction(() => pool.getConnection(), work),
      nested: savepoint,
      leaveDirty: () => leaveDirty(() => pool.getConnection()),
      notTransactions: { 'the pool': pool, 'a connection that was released': idle },
      close: () => pool.end(),
    };
  },
};

/**
 * The pool of mysql2 with callbacks. It lends the same connections that the pool with promises
 * wraps, so one server is enough.
 */
export const mysql2: ClientKind = {
  name: 'mysql2',
  stores: ['mysql'],

  async open(target, connectionLimit = 6) {
    const pool = createPool({ ...serverOf(target), connectionLimit });
    const lend = () =>
      new Promise<CallbackConnection>((resolve, reject) => {
        pool.getConnection((error, connection) => (error ? reject(error) : resolve(connection)));
      });
    const wrapped = (connection: CallbackConnection): PoolConnection =>
      (connection as any).promise() as PoolConnection;
    const idle = await lend();
    idle.release();
    return {
      executor: () => fromMysql2(pool),
      query: (sql: string, connection?: CallbackConnection) =>
        connection ? wrapped(connection).query(sql) : pool.promise().query(sql),
      transaction: (work) =>
        inTransaction(
          async () => wrapped(await lend()),
          (lent) => work((lent as any).connection),
        ),
      nested: (connection, work) => savepoint(wrapped(connection), () => work(connection)),
      leaveDirty: () => leaveDirty(async () => wrapped(await lend())),
      notTransactions: { 'the pool': pool, 'a connection that was released': idle },
      close: () => pool.promise().end(),
    } satisfies TestClient<CallbackConnection>;
  },
};

type CallbackConnection = import('mysql2').PoolConnection;

async function inTransaction<T>(
  lend: () => Promise<PoolConnection>,
  work: (connection: PoolConnection) => Promise<T>,
): Promise<T> {
  const connection = await lend();
  try {
    await connection.beginTransaction();
    const result = await work(connection);
    await connection.commit();
    return result;
  } catch (error) {
    await connection.rollback();
    throw error;
  } finally {
    connection.release();
  }
}

async function savepoint<T>(
  connection: PoolConnection,
  work: (connection: PoolConnection) => Promise<T>,
): Promise<T> {
  await connection.query('SAVEPOINT nested');
  try {
    return await work(connection);
  } catch (error) {
    await connection.query('ROLLBACK TO SAVEPOINT nested');
    throw error;
  }
}

async function leaveDirty(lend: () => Promise<PoolConnection>): Promise<void> {
  const lent = [await lend(), await lend()];
  for (const connection of lent) await connection.beginTransaction();
  for (const connection of lent) connection.release();
}
