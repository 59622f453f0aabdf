import { createHash } from 'node:crypto';
import type { Answer, Run } from '../lock-statements.js';
import type { SqlDriver, Warn } from '../sql-executor.js';
import { UnusableConnectionError, type ConnectionFault } from '../unusable-connection.js';

/** A query in the form that pg accepts. */
interface PgQuery {
  name?: string;
  text: string;
  values?: readonly unknown[] | undefined;
}

type Callback = (error: unknown, results: PgResult | PgResult[]) => void;

const STATE: unique symbol = Symbol('nestjs-locked: what the server has said of the session');

/** The members of pg's client that this driver uses. */
export interface PgClient {
  query(query: PgQuery, callback: Callback): void;
  end(): Promise<void>;
  /** The process id that the server, or a pooler, sent when the connection began. */
  processID?: number | null;
  /** The connection inside the client; missing in pg-native. */
  connection?: PgConnection;
  /** Returns the session's status; exists from pg 8.21 on, and in pg-native. */
  getTransactionStatus?(): string | null;
}

/** The members of the connection inside pg's client that this driver uses. */
export interface PgConnection {
  prependListener(event: 'readyForQuery', listener: (message: { status: string }) => void): void;
  on(
    event: 'parameterStatus',
    listener: (message: { parameterName: string; parameterValue: string }) => void,
  ): void;
  /** The texts of the prepared statements of the connection, by their names. */
  parsedStatements?: Record<string, string>;
  stream?: { readonly destroyed: boolean };
  [STATE]?: SessionState;
}

interface PgResult {
  rows: Record<string, unknown>[];
  fields: { name: string }[];
  rowCount: number | null;
}

/** An answer, with the status that the session had after it. */
interface Sent {
  answer: Answer;
  status: string | undefined;
}

/** What the server has reported about a session since the store used it for the first time. */
interface SessionState {
  /**
   * The session's status in the last answer: I (idle), T (in a transaction) or E (in a failed
   * transaction).
   */
  status?: string;
  /** How many transactions of the session have ended. */
  ended: number;
  encoding?: string;
}

/**
 * Sends statements to PostgreSQL through pg. Prepared statements have names, unless a pooler
 * loses the names.
 */
export class PgDriver implements SqlDriver<PgClient> {
  private readonly names: PostgresNames;
  private serverKnown = false;

  constructor({ named = true, warn }: { named?: boolean; warn?: Warn | undefined } = {}) {
    this.names = new PostgresNames(named, warn);
  }

  /**
   * Reads the version of the server, and finds out whether a pooler shares sessions between
   * clients.
   */
  async readVersion(run: Run): Promise<string> {
    const { rows, process } = await run('SELECT version() AS version, pg_backend_pid() AS pid');
    this.names.areShared = Number(rows[0]?.pid) !== process;
    this.serverKnown = true;
    return String(rows[0]?.version);
  }

  async send(
    client: PgClient,
    text: string,
    values?: readonly unknown[],
    { inTransaction = false, name = '' } = {},
  ): Promise<Answer> {
    const query = { text, values };
    // In a transaction, the statement is sent without a name, since an error about the name
    // would fail the transaction.
    if (inTransaction) return (await this.query(client, query)).answer;
    const isText = hasText(values);
    if (isText) await this.assertEncoding(client);
    const { answer, status } =
      values && this.names.inUse
        ? await this.names.sendNamed(client.connection, query, name, (named) => this.query(client, named))
        : await this.query(client, query);
    // A session without a status is a fault only if the server is known to be a supported
    // PostgreSQL. Until then, the check of the version explains the problem better.
    const unseen = this.serverKnown ? 'unseen' : undefined;
    if (status !== 'I') answer.fault = FAULTS[status ?? ''] ?? unseen;
    else if (isText && stateOf(client).encoding !== UTF8) answer.fault = 'encoding';
    return answer;
  }

  /**
   * Finds the fault of a session by an empty query, since the status after a failed statement
   * may not have been read yet. The failure changes a status only from T to E.
   */
  async check(client: PgClient, error?: unknown): Promise<ConnectionFault | undefined> {
    const { status } = await this.query(client, { text: '' });
    if (status === 'I') return undefined;
    if (status === undefined) return 'unseen';
    const wasAborted = !error || (error as { code?: unknown }).code === '25P02';
    return status === 'E' && wasAborted ? 'aborted' : 'transaction';
  }

  /**
   * Ends the client, so that the pool drops it. If a query is still running, pg closes the
   * socket at once.
   */
  destroy(client: PgClient): void {
    client.end().catch(() => undefined);
  }

  /**
   * Refuses a session with an encoding other than UTF-8. pg always sends UTF-8, so the server
   * would read other characters in a key.
   */
  private async assertEncoding(client: PgClient): Promise<void> {
    const state = stateOf(client);
    if (state.encoding === undefined) {
      const { answer } = await this.query(client, { text: 'SHOW client_encoding' });
      state.encoding = String(answer.rows[0]?.client_encoding);
    }
    if (state.encoding !== UTF8) throw new UnusableConnectionError('encoding');
  }

  /**
   * Sends a query with a callback. pg calls the callback while it reads the answer, so the
   * session's status is then the one in this answer.
   */
  private query(client: PgClient, query: PgQuery): Promise<Sent> {
    const state = stateOf(client);
    return new Promise((resolve, reject) => {
      client.query(query, (error, results) => {
        if (error) return reject(error);
        const status = state.status ?? client.getTransactionStatus?.() ?? undefined;
        resolve({ answer: { ...answerOf(results), process: client.processID }, status });
      });
    });
  }
}

const UTF8 = 'UTF8';

/**
 * Returns what is known of a session. The state is kept on the connection, so that all stores
 * that use the connection share one set of listeners.
 */
function stateOf({ connection }: PgClient): SessionState {
  if (!connection) return { ended: 0 };
  if (connection[STATE]) return connection[STATE];
  const state: SessionState = (connection[STATE] = { ended: 0 });
  // This listener runs before that of pg, which then delivers the answer to the store.
  connection.prependListener('readyForQuery', ({ status }) => {
    if (status === 'I' && state.status !== 'I') state.ended++;
    state.status = status;
  });
  connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
    if (parameterName === 'client_encoding') state.encoding = parameterValue;
  });
  return state;
}

/**
 * Returns a function that reports whether the client's transaction was still open according to
 * the server's last answer.
 */
export function watchPgTransaction(client: PgClient): () => boolean {
  if (!client.connection) return () => client.getTransactionStatus?.() !== 'I';
  const state = stateOf(client);
  const { ended } = state;
  return () => state.ended === ended && !hasEnded(client);
}

/** Whether the connection of a client has ended. With pg-native it is always `false`. */
export function hasEnded({ connection }: PgClient): boolean {
  return connection?.stream?.destroyed === true;
}

/** The fault of a session for each status. */
const FAULTS: Record<string, ConnectionFault> = { T: 'transaction', E: 'aborted' };

/**
 * Whether a value contains text beyond ASCII, which the server reads according to the
 * session's encoding.
 */
function hasText(value: unknown): boolean {
  if (typeof value === 'string') return Buffer.byteLength(value) !== value.length;
  return Array.isArray(value) && value.some(hasText);
}

function answerOf(results: PgResult | PgResult[]): Answer {
  // A text with several statements has several results, of which the last one counts.
  const result = Array.isArray(results) ? results.at(-1) : results;
  return {
    rows: result?.rows ?? [],
    columns: result?.fields?.map((field) => field.name) ?? [],
    affected: result?.rowCount ?? 0,
    insertId: 0,
  };
}

/**
 * Error codes behind a transaction pooler, which may send each statement to another session of
 * the server. That session may not know the name of a prepared statement, or may already have
 * it.
 */
const NAME_LOST = new Set<unknown>(['26000', '42P05']);
/**
 * The error code of a prepared statement after the type of a column was changed, which makes
 * its plan invalid on every connection.
 */
const PLAN_OUTDATED = '0A000';
/**
 * For how many milliseconds a statement is sent without a name after the error PLAN_OUTDATED.
 */
const WITHOUT_NAME = 60_000;

/**
 * The names of prepared statements, such as `nestjs-locked:acquire`, under which traces and
 * `pg_prepared_statements` show them.
 *
 * Behind a pooler, clients may share sessions. Then a name ends with a hash of the statement's
 * text, so that no client runs another client's statement. A name also has this hash if two
 * stores use one connection for different tables.
 */
class PostgresNames {
  /**
   * Whether a pooler shares sessions between clients. It is assumed until the store has
   * checked a connection.
   */
  areShared = true;
  private readonly hashes = new Map<string, string>();
  private readonly outdated = new Map<string, { times: number; until: number }>();

  constructor(
    /**
     * Whether prepared statements have names. It stays `false` after a pooler has once lost a
     * name.
     */
    public inUse: boolean,
    private readonly warn: Warn = () => undefined,
  ) {}

  /**
   * Sends the query under a name. If the server refuses the name, sends the query again
   * without it.
   */
  async sendNamed<T>(
    connection: PgConnection | undefined,
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
      `PostgreSQL has discarded the plan of the prepared statement "${wanted}" (0A000), for example after a change to the columns of the lock table. The statement runs unprepared for ${WITHOUT_NAME / 1_000} s, and is then prepared again.`,
    );
  }

  private nameOf(
    connection: PgConnection | undefined,
    text: string,
    wanted: string,
    times: number | undefined,
  ): string {
    const name = `nestjs-locked:${wanted}${times ? `:${times}` : ''}`;
    const parsedStatements = connection?.parsedStatements;
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
