import { NEVER } from '../lock-row.js';

/** What the statements have to know about the server. */
export interface MysqlServer {
  mariadb: boolean;
  /** MySQL 8 and MariaDB 10.6 have `FOR UPDATE SKIP LOCKED`. */
  skipsLocked: boolean;
  /**
   * Whether its binary log records statements. Replicas run them later, where SYSDATE() has
   * another value.
   */
  logsStatements: boolean;
}

/** The clock in microseconds, and in milliseconds: that of the statement's start. */
export const US = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`;
export const MS = `(${US} DIV 1000)`;

export function until(ttl: string): string {
  return `LEAST(${MS} + ${ttl}, ${NEVER})`;
}

/** A literal of the text's bytes, for statements that are not prepared. */
export function hex(text: string | Buffer): string {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  return `X'${bytes.toString('hex')}'`;
}

/** A statement whose values have names: `:owner` may stand in it as often as it has to. */
export interface NamedStatement<Name extends string> {
  sql: string;
  /** In the order of their places. */
  valuesOf(values: Record<Name, unknown>): unknown[];
}

export function named<Name extends string>(text: string): NamedStatement<Name> {
  const names: Name[] = [];
  const sql = text.replaceAll(/`(?:[^`]|``)*`|:(\w+)/g, (found, name?: Name) => {
    if (name === undefined) return found; // a quoted name may contain a colon
    names.push(name);
    return '?';
  });
  return { sql, valuesOf: (values) => names.map((name) => values[name]) };
}
