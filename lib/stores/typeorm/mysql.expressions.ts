import { NEVER } from './lock-row.js';

/** What the statements have to know about the server. */
export interface MysqlServer {
  mariadb: boolean;
  /** MySQL 8 and MariaDB 10.6 have `FOR UPDATE SKIP LOCKED`. */
  skipsLocked: boolean;
}

/** The clock in microseconds, and in milliseconds: that of the statement's start. */
export const US = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`;
export const MS = `(${US} DIV 1000)`;

export function until(ttl: string): string {
  return `LEAST(${MS} + ${ttl}, ${NEVER})`;
}

/** A literal of the text's bytes, for statements that are not prepared. */
export function hex(text: string): string {
  return `X'${Buffer.from(text).toString('hex')}'`;
}
