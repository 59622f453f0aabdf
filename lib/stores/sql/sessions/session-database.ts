import { createHash } from 'node:crypto';
import type { LockRecord } from '../../../interfaces/lock-record.interface.js';
import type { LockSession } from './lock-session.js';

/** A session lock, with texts that the server shows to people. */
export interface ServerLock {
  /** The name of the lock: a number on PostgreSQL, a text on MySQL and MariaDB. */
  readonly name: string;
  /**
   * The readable start of the key. It contains only letters, digits and a few characters that
   * mean nothing in SQL.
   */
  readonly title: string;
  /** The key and the label in an encoded form, see {@link noteOf}. */
  readonly note: string;
}

/**
 * Selects one lock, or all locks whose keys begin with a prefix. With a prefix, the result may
 * also contain other locks.
 */
export type SessionsToLookAt = { lock: ServerLock; prefix?: never } | { lock?: never; prefix: string };

/** How session locks work in one kind of database: how to connect, and the statements. */
export interface SessionDatabase {
  /**
   * The kind of database in messages. It is `mariadb` on MariaDB, even if the client was
   * configured for `mysql`.
   */
  readonly kind: 'postgres' | 'mysql' | 'mariadb';

  /** Returns the session lock that stands for a key on the server. */
  lockOf(key: string, label: string | null): ServerLock;

  /**
   * Opens a connection outside of the client's pool, and prepares it for long waits.
   *
   * @throws LockStoreError if session locks of this server would not exclude other sessions
   */
  connect(): Promise<LockSession>;

  /**
   * Takes the lock, and waits for it on the server. Resolves to `undefined` if another session
   * held the lock until the end of the wait.
   *
   * @param wait how many milliseconds to wait; 0 does not wait
   * @returns the fencing token: the server's clock in microseconds after the grant
   * @throws LockStoreError if the server no longer takes writes, see `onDemotedServer`
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
   * @throws LockStoreError if the server no longer takes writes, see `onDemotedServer`
   */
  holds(session: LockSession, lock: ServerLock): Promise<boolean>;

  /** Releases the lock. Resolves to `false` if the session did not hold it. */
  free(session: LockSession, lock: ServerLock): Promise<boolean>;

  /**
   * Makes the server end a session of this store that holds the lock or waits for it. The
   * request uses another connection, since that of the session is busy or dead.
   */
  end(session: LockSession, lock: ServerLock): Promise<void>;

  /**
   * Makes the server end every session that holds the lock, in any process. Resolves to the
   * ids of these sessions.
   */
  endHolders(lock: ServerLock): Promise<string[]>;

  /** Reads the server's clock, in epoch milliseconds. */
  readClock(): Promise<number>;

  /**
   * Returns the ids of the sessions that hold the lock, in the form in which `endHolders`
   * returns them.
   */
  holders(lock: ServerLock): Promise<string[]>;

  /**
   * Finds the holders of the selected locks. A holder that has not written its note yet is
   * left out.
   *
   * @param by an idle session of the store, on which the query is sent
   * @throws LockStoreError if the server does not show the holders
   */
  look(which: SessionsToLookAt, by?: LockSession): Promise<LockRecord[]>;
}

const LABEL_BYTES = 255;

/**
 * Returns the SHA-256 of a key. Its first bytes are the name of the lock on the server: two
 * keys practically never have the same, and no application uses such a name by chance.
 */
export function digestOf(key: string, ...scope: string[]): Buffer {
  return createHash('sha256')
    .update(['nestjs-locked', ...scope, key].join('\0'))
    .digest();
}

/**
 * Returns the start of the key, up to `length` characters, for people who look at the locks of
 * the server.
 */
export function titleOf(key: string, length: number): string {
  return key.slice(0, length).replaceAll(/[^\w.:-]/g, '_');
}

/**
 * Encodes key and label in at most 700 characters that mean nothing in SQL, since PostgreSQL
 * shows only the first 1,023 bytes of a statement.
 */
export function noteOf(key: string, label: string | null): string {
  const parts = label === null ? [key] : [key, cut(label)];
  return parts.map((part) => Buffer.from(part).toString('base64url')).join('.');
}

/**
 * Finds the locks of this library among all locks that a server shows. Locks of other programs
 * are left out, and so are locks whose holder has not written its note yet.
 *
 * @param rows each with name, note, token, and the number of waiting sessions
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
    // The token is the time of the grant in microseconds.
    const startedAt = new Date(fencingToken / 1_000);
    const since = { startedAt, renewedAt: startedAt };
    return [
      { key, label, fencingToken, ...since, expiresAt: null, remaining: Infinity, waiters: Number(waiters) },
    ];
  });
}

/** Decodes a note that {@link noteOf} has encoded. */
function readNote(note: string): { key: string; label: string | null } {
  const [key = '', label] = note.split('.').map((part) => Buffer.from(part, 'base64url').toString());
  return { key, label: label ?? null };
}

function cut(label: string): string {
  const bytes = Buffer.from(label);
  let end = Math.min(bytes.length, LABEL_BYTES);
  // The cut must not be in the middle of a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end).toString();
}
