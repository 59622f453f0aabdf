import postgres, { type ReservedSql, type TransactionSql } from 'postgres';
import type { ClientKind, TestClient } from './client-kind.js';
import { PostgresJsExecutor } from './postgresjs-executor.js';

/** A client that has no executor in this library: the example of docs/executors.md. */
export const postgresjs: ClientKind = {
  name: 'postgres.js',
  stores: ['postgres'],
  without: () => ['guard'],

  async open({ options }, poolSize = 6): Promise<TestClient<TransactionSql>> {
    const { host, port, username, password, database } = options as Record<string, any>;
    const sql = postgres({
      host,
      port,
      username,
      password,
      database,
      max: poolSize,
      onnotice: () => undefined,
    });
    return {
      executor: () => new PostgresJsExecutor(sql),
      query: async (text, transaction) => (transaction ?? sql).unsafe(text),
      transaction: async (work) => (await sql.begin((transaction) => work(transaction))) as any,
      nested: async (transaction, work) => (await transaction.savepoint((nested) => work(nested))) as any,
      leaveDirty: async () => {
        const reserved: ReservedSql[] = [await sql.reserve(), await sql.reserve()];
        for (const connection of reserved) await connection.unsafe('BEGIN');
        for (const connection of reserved) connection.release();
        const rollBack = () => sql.unsafe('ROLLBACK');
        return async () => void (await Promise.all(Array.from({ length: poolSize }, rollBack)));
      },
      notTransactions: { 'the client': sql },
      close: () => sql.end({ timeout: 1 }),
    };
  },
};
