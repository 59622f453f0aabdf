import { createHash } from 'node:crypto';
import type { LockRecord } from '../../../interfaces/lock-record.interface.js';
import type { LockSession } from './lock-session.js';

/** A lock as the server knows it, and what it shows to people. */
export interface ServerLock {
  /** What the server locks: a number on PostgreSQL, a name on MySQL and MariaDB. */
  readonly name: string;
  /**
   * The readable start of the key, of letters, digits and a few signs that mean nothing in
   * SQL.
   */
  readonly title: string;
  /** Key and label, see {@link noteOf}. */
  readonly note: string;
}

/** One lock; or those of a prefix, where the answer may contain others too. */
export type SessionsToLookAt = { lock: ServerLock; prefix?: never } | { lock?: never; prefix: string };

/** The statements of one kind of database, and how connections to it are made. */
export interface SessionDatabase {
  /** For people: `mariadb` also when the client was configured for `mysql`. */
  readonly kind: 'postgres' | 'mysql' | 'mariadb';

  /** What stands for a key on the server. */
  lockOf(key: string, label: string | null): ServerLock;

  /**
   * Makes a connection outside of the client's pool, and prepares it for long waits.
   *
   * @throws LockStoreError where a session lock would exclude no other session
   */
  connect(): Promise<LockSession>;

  /**
   * Takes the lock and waits for it on the server; `undefined` when another session held it
   * until the end of the wait.
   *
   * @param wait milliseconds, 0 for none
   * @returns the fencing token: the server's clock in microseconds, after the lock was granted
   * @throws LockStoreError when the server has stopped to take writes, see `onDemotedServer`
   */
  take(
    session: LockSession,
    lock: ServerLock,
    wait: number,
    signal?: AbortSignal,
  ): Promise<number | undefined>;

  /**
   * Asks the server whether the session holds the lock.
   *
   * @throws LockStoreError when the server has stopped to take writes, see `onDemotedServer`
   */
  holds(session: LockSession, lock: ServerLock): Promise<boolean>;

  /** Gives the lock back; `false` when the session did not hold it. */
  free(session: LockSession, lock: ServerLock): Promise<boolean>;

  /**
   * Has the server end a session of this store that holds the lock or waits for it. Another
   * connection sends that, since the session's own is busy or dead.
   */
  end(session: LockSession, lock: ServerLock): Promise<void>;

  /** Ends the sessions of any process that hold the lock, and gives their ids. */
  endHolders(lock: ServerLock): Promise<string[]>;

  /** The server's clock, in epoch milliseconds. */
  readClock(): Promise<number>;

  /** The ids of the sessions that hold the lock, as `endHolders` gives them. */
  holders(lock: ServerLock): Promise<string[]>;

  /**
   * Finds the holder of this lock, or those of a prefix, if their notes are written.
   *
   * @param by an idle session of the store
   * @throws LockStoreError where the server does not show them
   */
  look(which: SessionsToLookAt, by?: LockSession): Promise<LockRecord[]>;
}

const LABEL_BYTES = 255;

/**
 * The SHA-256 whose first bytes stand for a key. No two keys share them, and no application
 * locks the same name by chance.
 */
export function digestOf(key: string, ...scope: string[]): Buffer {
  return createHash('sha256')
    .update(['nestjs-locked', ...scope, key].join('\0'))
    .digest();
}

/** The start of the key, as much as fits, for people who look at the server. */
export function titleOf(key: string, length: number): string {
  return key.slice(0, length).replaceAll(/[^\w.:-]/g, '_');
}

/**
 * Key and label in at most 700 signs that mean nothing in SQL. PostgreSQL shows the first
 * 1,023 bytes of a statement.
 */
export function noteOf(key: string, label: string | null): string {
  const parts = label === null ? [key] : [key, cut(label)];
  return parts.map((part) => Buffer.from(part).toString('base64url')).join('.');
}

/**
 * The locks among the names that a server shows. Names that other programs have locked are
 * left out, and locks whose holder has not written its note yet.
 *
 * @param rows with name, note, token, and how many sessions wait
 */
export function recordsOf(
  rows: readonly Record<string, unknown>[],
  database: Pick<SessionDatabase, 'lockOf'>,
): LockRecord[] {
  return rows.flatMap(({ name, note, token, waiters }) => {
    if ([note, token].includes(null)) return [];
    const { key, label } = readNote(String(note));
    if (key === '' || database.lockOf(key, null).name !== String(name)) return [];
    const fencingToken = Number(String(token));
    const startedAt = new Date(fencingToken / 1_000); // the token is the clock of that moment
    const since = { startedAt, renewedAt: startedAt };
    return [
      { key, label, fencingToken, ...since, expiresAt: null, remaining: Infinity, waiters: Number(waiters) },
    ];
  });
}

/** Reads what {@link noteOf} wrote. */
function readNote(note: string): { key: string; label: string | null } {
  const [key = '', label] = note.split('.').map((part) => Buffer.from(part, 'base64url').toString());
  return { key, label: label ?? null };
}

function cut(label: string): string {
  const bytes = Buffer.from(label);
  let end = Math.min(bytes.length, LABEL_BYTES);
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--; // never in the middle of a character
  return bytes.subarray(0, end).toString();
}
