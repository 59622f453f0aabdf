import postgres, { type ReservedSql, type Sql, type TransactionSql } from 'postgres';
import type { Target } from '../../servers/targets.js';
import type { ClientKind, TestClient } from './client-kind.js';
import { PostgresJsExecutor } from './postgresjs-executor.js';

const POOL_SIZE = 6;

/**
 * A client for which this library has no executor. docs/executors.md shows how to write one.
 */
export const postgresjs: ClientKind = {
  name: 'postgres.js',
  stores: ['postgres'],
  without: () => ['guard'],
  open: async (target, poolSize) => clientOf(connect(target, poolSize), poolSize),
};

export function connect({ options }: Target, poolSize = POOL_SIZE): Sql {
  const { host, port, username, password, database } = options as Record<string, any>;
  return postgres({ host, port, username, password, database, max: poolSize, onnotice: () => undefined });
}

export function clientOf(sql: Sql, poolSize = POOL_SIZE): TestClient<TransactionSql> {
  return {
    executor: () => new PostgresJsExecutor(sql),
    query: async (text, transaction) => (transaction ?? sql).unsafe(text),
    transaction: async (work) => (await sql.begin((transaction) => work(transaction))) as any,
    nested: async (transaction, work) => (await transaction.savepoint((nested) => work(nested))) as any,
    async leaveDirty() {
      const reserved: ReservedSql[] = [await sql.reserve(), await sql.reserve()];
      for (const connection of reserved) await connection.unsafe('BEGIN');
      for (const connection of reserved) connection.release();
      const rollBack = () => sql.unsafe('ROLLBACK');
      return async () => void (await Promise.all(Array.from({ length: poolSize }, rollBack)));
    },
    notTransactions: { 'the client': sql },
    close: () => sql.end({ timeout: 1 }),
  };
}
