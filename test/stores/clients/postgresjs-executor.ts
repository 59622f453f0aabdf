import type { Sql, TransactionSql } from 'postgres';
import { LockError } from '../../../lib/index.js';
import type { SqlResult, StatementExecutor, TransactionOptions } from '../../../lib/stores/sql/index.js';

/** Keeps locks in PostgreSQL through postgres.js. */
export class PostgresJsExecutor implements StatementExecutor<TransactionSql> {
  readonly client = 'postgres.js';
  readonly type = 'postgres';
  readonly schema = undefined;
  /**
   * The transactions that this executor has begun. postgres.js does not tell whether a
   * transaction is open.
   */
  private readonly open = new Set<unknown>();

  constructor(private readonly sql: Sql) {}

  get description(): string {
    const { host, port, database } = this.sql.options;
    return `postgres at ${host[0]}:${port[0]}, database ${database}`;
  }

  async query(text: string): Promise<SqlResult> {
    return send(this.sql, text);
  }

  async transaction<T>(
    work: (transaction: TransactionSql) => Promise<T>,
    { level }: TransactionOptions,
  ): Promise<T> {
    let begun: TransactionSql | undefined;
    try {
      return (await this.sql.begin(level ? `ISOLATION LEVEL ${level}` : '', async (transaction) => {
        begun = transaction;
        this.open.add(transaction);
        return work(transaction);
      })) as T;
    } finally {
      this.open.delete(begun);
    }
  }

  queryIn(transaction: unknown, doing: string): (text: string) => Promise<SqlResult> {
    if (!this.open.has(transaction))
      throw new LockError(`Could not ${doing}: it needs a transaction that lock.transaction() has begun.`);
    return (text) => send(transaction as TransactionSql, text);
  }

  watchTransaction(transaction: unknown): () => boolean {
    return () => this.open.has(transaction);
  }

  async close(): Promise<void> {} // The application closes its own client.
}

async function send(sql: Sql, text: string): Promise<SqlResult> {
  try {
    const rows = await sql.unsafe(text);
    return { rows, affected: rows.count };
  } catch (error) {
    // The library does not know the codes with which postgres.js reports a lost connection.
    if (String((error as { code?: unknown }).code).startsWith('CONNECT'))
      throw Object.assign(new Error('The connection was lost', { cause: error }), { code: 'ECONNRESET' });
    throw error;
  }
}
