import { createHash } from 'node:crypto';
import type { Warn } from '../sql-executor.js';

/** A query of pg. */
export interface PgQuery {
  name?: string;
  text: string;
  values?: readonly unknown[] | undefined;
}

/** The statements that are prepared on a connection of pg: their texts by name. */
interface Prepared {
  parsedStatements?: Record<string, string>;
}

/**
 * Codes of a transaction pooler, which sends each statement to any session of the server: it
 * may not know the name, or know it already.
 */
const NAME_LOST = new Set<unknown>(['26000', '42P05']);
/**
 * The type of a column was changed, so the plan of the named statement is invalid on every
 * connection.
 */
const PLAN_OUTDATED = '0A000';
/** Milliseconds for which the statement has no name after that error. */
const WITHOUT_NAME = 60_000;

/**
 * The names of prepared statements, as traces and `pg_prepared_statements` show them:
 * `nestjs-locked:acquire`.
 *
 * Clients of a pooler may get each other's sessions. There the name ends with a hash of the
 * text, so that a client never runs the statement of another one. The same applies when two
 * stores use one connection for different tables.
 */
export class PostgresNames {
  /**
   * Whether a pooler shares sessions between clients. Assumed until the store has checked a
   * connection.
   */
  areShared = true;
  private readonly hashes = new Map<string, string>();
  private readonly outdated = new Map<string, { times: number; until: number }>();

  constructor(
    /** Whether statements have names; `false` for good after a pooler has lost a name. */
    public inUse: boolean,
    private readonly warn: Warn = () => undefined,
  ) {}

  /** Sends the query under a name, and repeats it without a name if the name fails. */
  async run<T>(
    connection: Prepared | undefined,
    query: PgQuery,
    wanted: string,
    send: (query: PgQuery) => Promise<T>,
  ): Promise<T> {
    const outdated = this.outdated.get(query.text);
    if (outdated && performance.now() < outdated.until) return send(query);
    try {
      return await send({ ...query, name: this.nameOf(connection, query.text, wanted, outdated?.times) });
    } catch (error) {
      const { code } = Object(error) as { code?: unknown };
      if (NAME_LOST.has(code)) this.inUse = false;
      else if (code === PLAN_OUTDATED) this.avoid(query.text, wanted);
      else throw error;
      return send(query);
    }
  }

  private avoid(text: string, wanted: string): void {
    const times = (this.outdated.get(text)?.times ?? 0) + 1;
    this.outdated.set(text, { times, until: performance.now() + WITHOUT_NAME });
    this.warn(
      `prepared statement ${wanted}`,
      `PostgreSQL has discarded the plan of the prepared statement "${wanted}" (0A000), as after a change to the columns of the lock table. The statement runs unprepared for ${WITHOUT_NAME / 1_000} s, and is then prepared again.`,
    );
  }

  private nameOf(
    { parsedStatements }: Prepared = {},
    text: string,
    wanted: string,
    times: number | undefined,
  ): string {
    const name = `nestjs-locked:${wanted}${times ? `:${times}` : ''}`;
    const known = parsedStatements?.[name];
    if (!this.areShared && parsedStatements && (known === undefined || known === text)) return name;
    return `${name}:${this.hashOf(text)}`;
  }

  private hashOf(text: string): string {
    const hash = this.hashes.get(text) ?? createHash('sha256').update(text).digest('hex').slice(0, 8);
    this.hashes.set(text, hash);
    return hash;
  }
}
