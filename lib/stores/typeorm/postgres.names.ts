import { createHash } from 'node:crypto';
import type { Warn } from './pooled-sessions.js';

/** A query of pg. */
export interface PgQuery {
  name?: string;
  text: string;
  values?: readonly unknown[] | undefined;
}

/** By name: the text of each statement that is prepared on a connection of pg. */
interface Prepared {
  parsedStatements?: Record<string, string>;
}

/** A transaction pooler hands each statement to another server session, which may not know the name, or know it already. */
const NAME_LOST = new Set<unknown>(['26000', '42P05']);
/** The type of a column was changed: the plan behind the name is no good any longer, on any connection. */
const PLAN_OUTDATED = '0A000';
/** Milliseconds for which a statement goes without a name after that. */
const WITHOUT_NAME = 60_000;

/**
 * The names of prepared statements, which people see in traces and in `pg_prepared_statements`: `nestjs-locked:acquire`.
 *
 * Clients of a pooler may get each other's sessions. There the name ends with a hash of the text, so that none runs the statement of another
 * client; the same where two stores use one connection for different tables.
 */
export class PostgresNames {
  /** Whether the sessions of the server are those of a pooler; assumed until the store has seen one. */
  areShared = true;
  private readonly hashes = new Map<string, string>();
  private readonly outdated = new Map<string, { times: number; until: number }>();

  constructor(
    /** `false` for good when a pooler has lost a name. */
    public inUse: boolean,
    private readonly warn: Warn = () => undefined,
  ) {}

  /** Sends the query under a name; without one when the name fails. */
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
      `PostgreSQL has discarded the plan of the prepared statement "${wanted}" (0A000), as after a change to the columns of the lock table. It runs unprepared for ${WITHOUT_NAME / 1_000} s, and is then prepared again.`,
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
