import { LockStoreError } from '../../../lock.errors.js';
import type { Answer } from '../lock-statements.js';
import { withLiterals } from './mysql-values.js';
import { clockRuns, LOOK_AT_CLOCK } from './session-settings.js';
import type { SqlDriver, Warn } from '../sql-executor.js';
import type { ConnectionFault } from '../unusable-connection.js';

type Callback = (error: unknown, result: unknown, fields?: { name: string }[]) => void;

/** The members of mysql2's connection that this driver uses. */
export interface Mysql2Connection {
  config: { rowsAsArray?: boolean; nestTables?: unknown; typeCast?: unknown };
  execute(query: object, callback: Callback): Command | undefined;
  execute(sql: string, values: readonly unknown[], callback: Callback): Command | undefined;
  query(query: object, callback: Callback): Command | undefined;
  on(event: 'error', listener: () => void): void;
  destroy(): void;
}

/**
 * A statement that mysql2 is executing. mysql2 calls `execute` first without a packet, and
 * then with each packet of the answer.
 */
interface Command {
  execute(packet: Packet | undefined, connection: unknown): unknown;
}

interface Packet {
  isEOF(): boolean;
  eofStatusFlags(): number;
}

/** The answer to a statement that changes rows. */
interface Mysql2Header {
  affectedRows: number | string;
  insertId: number | string;
  serverStatus: number;
}

/** The bits of the session's status in an answer of the server. */
const IN_TRANSACTION = 1;
const AUTOCOMMIT = 2;

/**
 * The error number for too many prepared statements. The limit `max_prepared_stmt_count` is
 * for all clients of a server together.
 */
const TOO_MANY_PREPARED = 1461;
/**
 * For how many milliseconds the store prepares no statements after the error
 * TOO_MANY_PREPARED.
 */
const UNPREPARED = 60_000;

// The store sets these options for its own queries, since the application may have set others
// for all queries of the connection.
const ROWS_AS_OBJECTS = { rowsAsArray: false, nestTables: false, typeCast: true };

/**
 * Sends statements to MySQL and MariaDB through mysql2, either as prepared statements or with
 * the values in the text.
 */
export class Mysql2Driver implements SqlDriver<Mysql2Connection> {
  private preparedFrom: number;
  private readonly warn: Warn;

  constructor({ prepared = true, warn }: { prepared?: boolean; warn?: Warn | undefined } = {}) {
    this.preparedFrom = prepared ? -Infinity : Infinity;
    this.warn = warn ?? (() => undefined);
  }

  async send(connection: Mysql2Connection, sql: string, values?: readonly unknown[]): Promise<Answer> {
    if (typeof connection.execute !== 'function')
      throw new LockStoreError(
        'The client has loaded the package mysql, which has no prepared statements. Install mysql2, and remove mysql or set ' +
          "connectorPackage: 'mysql2' in the options of TypeORM's DataSource.",
      );
    if (!values) return this.query(connection, sql);
    if (performance.now() < this.preparedFrom) return this.query(connection, withLiterals(sql, values));
    try {
      return await this.withFault(connection, (callback) =>
        givesRowsAsObjects(connection)
          ? connection.execute(sql, values, callback)
          : connection.execute({ sql, values, ...ROWS_AS_OBJECTS }, callback),
      );
    } catch (error) {
      if ((error as { errno?: unknown }).errno !== TOO_MANY_PREPARED) throw error;
      this.preparedFrom = performance.now() + UNPREPARED;
      this.warn(
        'prepared statements',
        `The server takes no more prepared statements (max_prepared_stmt_count). For ${UNPREPARED / 1_000} s, the store prepares no statements, and their text contains owner ids, which the server may log. Raise max_prepared_stmt_count, or look for a client that does not close its prepared statements.`,
      );
      return this.query(connection, withLiterals(sql, values));
    }
  }

  /**
   * Finds the fault of a connection. After an error, it sends the smallest statement, since
   * the error does not show the status of the connection. Before a transaction, it also checks
   * the clock.
   */
  async check(connection: Mysql2Connection, error?: unknown): Promise<ConnectionFault | undefined> {
    if (!error) {
      const { rows, fault } = await this.query(connection, LOOK_AT_CLOCK);
      return fault ?? (clockRuns(rows[0]) ? undefined : 'clock');
    }
    const { status = 0 } = await sent((callback) => connection.query({ sql: 'DO 0' }, callback));
    return faultOf(status);
  }

  destroy(connection: Mysql2Connection): void {
    // A connection may still report an error after it was destroyed.
    connection.on('error', () => undefined);
    connection.destroy();
  }

  private query(connection: Mysql2Connection, sql: string): Promise<Answer> {
    return this.withFault(connection, (callback) => connection.query({ sql, ...ROWS_AS_OBJECTS }, callback));
  }

  /** Adds the connection's fault to the answer, if it has one. */
  private async withFault(
    connection: Mysql2Connection,
    start: (callback: Callback) => Command | undefined,
  ): Promise<Answer> {
    const { answer, status } = await sent(start);
    answer.fault = status === undefined ? await this.check(connection, 'no status') : faultOf(status);
    return answer;
  }
}

/**
 * Sends a statement, and reads the session's status from its answer. mysql2 does not show the
 * status after rows, which is in the last packet.
 */
async function sent(
  start: (callback: Callback) => Command | undefined,
): Promise<{ answer: Answer; status?: number | undefined }> {
  let status: number | undefined;
  const answer = await new Promise<Answer>((resolve, reject) => {
    const command = start((error, result, fields) => {
      if (error) return reject(error);
      status = (result as Partial<Mysql2Header>).serverStatus ?? status;
      resolve(answerOf(result, fields));
    });
    if (!command?.execute) return; // some tracing libraries return no command
    const execute = command.execute.bind(command);
    command.execute = (packet, from) => {
      if (packet?.isEOF()) status = packet.eofStatusFlags();
      return execute(packet, from);
    };
  });
  return { answer, status };
}

function faultOf(status: number): ConnectionFault | undefined {
  const { inTransaction, autocommit } = sessionOf(status);
  if (!autocommit) return 'autocommit';
  return inTransaction ? 'transaction' : undefined;
}

/**
 * Reads from the status in an answer whether the session is in a transaction, and whether
 * autocommit is on.
 */
export function sessionOf(status: number): { inTransaction: boolean; autocommit: boolean } {
  return { inTransaction: (status & IN_TRANSACTION) !== 0, autocommit: (status & AUTOCOMMIT) !== 0 };
}

/**
 * Whether the connection returns rows as objects by default. If so, the store passes no
 * options, since they make a statement 15 microseconds slower in mysql2.
 */
function givesRowsAsObjects({ config }: Mysql2Connection): boolean {
  return !config.rowsAsArray && !config.nestTables && (config.typeCast ?? true) === true;
}

function answerOf(result: unknown, fields: { name: string }[] = []): Answer {
  const columns = fields.map((field) => field.name);
  if (Array.isArray(result)) return { rows: result, columns, affected: 0, insertId: 0 };
  const { affectedRows, insertId } = result as Mysql2Header;
  return { rows: [], columns, affected: Number(affectedRows), insertId: Number(insertId) };
}
