import type { LockSession } from './lock-session.js';

/** A lock as the server knows it, and what it shows to people. */
export interface ServerLock {
  /** What the server locks: a number on PostgreSQL, a name on MySQL and MariaDB. */
  readonly name: string;
  /** The readable start of the key, of letters, digits and a few signs that mean nothing in SQL. */
  readonly title: string;
  /** Key and label, see {@link noteOf}. */
  readonly note: string;
}

/** A session that holds a lock, as the server shows it. */
export interface SessionLook {
  name: string;
  /** See `noteOf`. */
  note: string;
  token: number;
  /** How many sessions wait for the lock. */
  waiters: number;
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
   * Makes a connection that is not of the application's pool, and prepares it for long waits.
   *
   * @throws LockStoreError where locks of the session would exclude nobody
   */
  connect(): Promise<LockSession>;

  /**
   * Takes the lock and waits for it on the server; `undefined` when another session held it until
   * the end of the wait.
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
   * Finds the sessions that hold this lock, or any lock with a prefix, if their notes are written.
   *
   * @param by an idle session of the store
   * @throws LockStoreError where the server does not show them
   */
  look(which: SessionsToLookAt, by?: LockSession): Promise<SessionLook[]>;
}
