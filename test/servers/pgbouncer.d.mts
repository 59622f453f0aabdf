export interface PgBouncer {
  /** Leads through it to the database that the server's options name; other databases of the server are behind it as well. */
  readonly url: string;
  readonly version: string;
  /** Ends the process without a goodbye. */
  crash(): Promise<void>;
  /** On the same port; resolves when it answers again. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** PgBouncer in transaction mode in front of a PostgreSQL, with a few sessions for each database. */
export function startPgBouncer(
  server: { host: string; port: number; username: string; password: string; database: string },
  options?: { poolSize?: number; poolMode?: 'transaction' | 'statement' },
): Promise<PgBouncer>;
