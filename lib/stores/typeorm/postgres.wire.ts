import { createHash } from 'node:crypto';
import type { Answer } from './lock-dialect.js';
import type { Wire } from './pooled-sessions.js';

/** What is used of pg's client. */
export interface PgClient {
  query(query: { name?: string; text: string; values?: readonly unknown[] }): Promise<PgResult | PgResult[]>;
  end(): Promise<void>;
}

interface PgResult {
  rows: Record<string, unknown>[];
  fields: { name: string }[];
  rowCount: number | null;
}

/**
 * Codes of a named statement that was not carried out because of its name: a transaction pooler hands each statement to another server session,
 * which may not know the name (26000) or know it already (42P05); or the type of a column was changed (0A000).
 */
const NAME_FAILED = new Set<unknown>(['26000', '42P05', '0A000']);

/** Talks to PostgreSQL through pg: prepared statements by name, unless that is not wanted, until a pooler shows that it does not keep them. */
export class PostgresWire implements Wire<PgClient> {
  private readonly names = new Map<string, string>();
  private named: boolean;

  constructor({ named = true } = {}) {
    this.named = named;
  }

  async run(
    client: PgClient,
    text: string,
    values?: readonly unknown[],
    { inTransaction = false } = {},
  ): Promise<Answer> {
    const query = { text, values };
    // A name that failed would take the transaction with it.
    if (!values || !this.named || inTransaction) return answerOf(await client.query(query));
    try {
      return answerOf(await client.query({ ...query, name: this.nameOf(text) }));
    } catch (error) {
      if (!NAME_FAILED.has((error as { code?: unknown }).code)) throw error;
      this.named = false; // for good
      return answerOf(await client.query(query));
    }
  }

  /** The pool sees that the client has ended and does not take it back; with a query under way pg cuts the socket. */
  destroy(client: PgClient): void {
    client.end().catch(() => undefined);
  }

  private nameOf(text: string): string {
    let name = this.names.get(text);
    if (!name) {
      name = `nestjs-locked-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
      this.names.set(text, name);
    }
    return name;
  }
}

function answerOf(results: PgResult | PgResult[]): Answer {
  const result = Array.isArray(results) ? results.at(-1) : results; // a text of several statements gives several
  return {
    rows: result?.rows ?? [],
    columns: result?.fields?.map((field) => field.name) ?? [],
    affected: result?.rowCount ?? 0,
    insertId: 0,
  };
}
