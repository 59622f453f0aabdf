import type { Answer, Run } from './lock-dialect.js';
import { PostgresNames, type PgQuery } from './postgres.names.js';
import type { Warn, Wire } from './pooled-sessions.js';
import { UnusableConnectionError, type ConnectionFault } from './unusable-connection.js';

type Callback = (error: unknown, results: PgResult | PgResult[]) => void;

const STATE: unique symbol = Symbol('nestjs-locked: what the server has said of the session');

/** What is used of pg's client. */
export interface PgClient {
  query(query: PgQuery, callback: Callback): void;
  end(): Promise<void>;
  /** The id of the server's process, by what it or a pooler says when the connection begins. */
  processID?: number | null;
  /** pg-native has none. */
  connection?: PgConnection;
  /** From pg 8.21 on, and in pg-native. */
  getTransactionStatus?(): string | null;
}

/** What is used of the connection inside of pg's client. */
export interface PgConnection {
  prependListener(event: 'readyForQuery', listener: (message: { status: string }) => void): void;
  on(
    event: 'parameterStatus',
    listener: (message: { parameterName: string; parameterValue: string }) => void,
  ): void;
  /** By name: the text of each statement that is prepared. */
  parsedStatements?: Record<string, string>;
  [STATE]?: SessionState;
}

interface PgResult {
  rows: Record<string, unknown>[];
  fields: { name: string }[];
  rowCount: number | null;
}

/** An answer, with the status of the session that came with it. */
interface Sent {
  answer: Answer;
  status: string | undefined;
}

/** What the server has said of a session since the store first used it. */
interface SessionState {
  /** I: idle, T: in a transaction, E: in a failed one; by the last answer. */
  status?: string;
  encoding?: string;
}

/** Talks to PostgreSQL through pg, with prepared statements that have names where they can be used. */
export class PostgresWire implements Wire<PgClient> {
  private readonly names: PostgresNames;
  private met = false;

  constructor({ named = true, warn }: { named?: boolean; warn?: Warn | undefined } = {}) {
    this.names = new PostgresNames(named, warn);
  }

  /** Asks one connection for the server's version, and whether its session is its own or a pooler's. */
  async meet(run: Run): Promise<string> {
    const { rows, process } = await run('SELECT version() AS version, pg_backend_pid() AS pid');
    this.names.areShared = Number(rows[0]?.pid) !== process;
    this.met = true;
    return String(rows[0]?.version);
  }

  async run(
    client: PgClient,
    text: string,
    values?: readonly unknown[],
    { inTransaction = false, name = '' } = {},
  ): Promise<Answer> {
    const query = { text, values };
    // A name that failed would take the transaction with it.
    if (inTransaction) return (await this.send(client, query)).answer;
    const isText = hasText(values);
    if (isText) await this.assertEncoding(client);
    const { answer, status } =
      values && this.names.inUse
        ? await this.names.run(client.connection, query, name, (named) => this.send(client, named))
        : await this.send(client, query);
    const unseen = this.met ? 'unseen' : undefined; // first it has to be found out which database it is
    if (status !== 'I') answer.fault = FAULTS[status ?? ''] ?? unseen;
    else if (isText && stateOf(client).encoding !== UTF8) answer.fault = 'encoding';
    return answer;
  }

  /** After an error the status stays what it was, or turns from T to E; it may not have been seen yet. */
  async check(client: PgClient, error?: unknown): Promise<ConnectionFault | undefined> {
    const { status } = await this.send(client, { text: '' });
    if (status === 'I') return undefined;
    if (status === undefined) return 'unseen';
    const wasAborted = !error || (error as { code?: unknown }).code === '25P02';
    return status === 'E' && wasAborted ? 'aborted' : 'transaction';
  }

  /** The pool sees that the client has ended and does not take it back; with a query under way pg cuts the socket. */
  destroy(client: PgClient): void {
    client.end().catch(() => undefined);
  }

  /** pg sends UTF-8 whatever the session is set to: in another encoding a key would be another key. */
  private async assertEncoding(client: PgClient): Promise<void> {
    const state = stateOf(client);
    if (state.encoding === undefined) {
      const { answer } = await this.send(client, { text: 'SHOW client_encoding' });
      state.encoding = String(answer.rows[0]?.client_encoding);
    }
    if (state.encoding !== UTF8) throw new UnusableConnectionError('encoding');
  }

  /** By callback: it is called while the answer is read, when the status is still the one that came with it. */
  private send(client: PgClient, query: PgQuery): Promise<Sent> {
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

/** On the connection itself: all stores that use it share one set of listeners. */
function stateOf({ connection }: PgClient): SessionState {
  if (!connection) return {};
  if (connection[STATE]) return connection[STATE];
  const state: SessionState = (connection[STATE] = {});
  // Before pg's own listener, which gives the answer to us.
  connection.prependListener('readyForQuery', ({ status }) => void (state.status = status));
  connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
    if (parameterName === 'client_encoding') state.encoding = parameterValue;
  });
  return state;
}

/** By the status of a session. */
const FAULTS: Record<string, ConnectionFault> = { T: 'transaction', E: 'aborted' };

/** Whether there is text in it that differs from one encoding to another. */
function hasText(value: unknown): boolean {
  if (typeof value === 'string') return Buffer.byteLength(value) !== value.length;
  return Array.isArray(value) && value.some(hasText);
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
