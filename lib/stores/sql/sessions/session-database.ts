import type { LockSession } from './lock-session.js';
import type { SessionClaim } from './session-claim.js';

/** What a server tells of one session that holds a lock. */
export interface SessionLook {
  name: string;
  /** See `noteOf`. */
  note: string;
  token: number;
  /** How many sessions wait for the lock. */
  waiters: number;
}

/** One lock; or those of a prefix, where there may be others in the answer. */
export type SessionsToLookAt = { claim: SessionClaim; prefix?: never } | { claim?: never; prefix: string };

/** The statements of one kind of database, and how connections to it are made. */
export interface SessionDatabase {
  /** For people: `mariadb` also when TypeORM was told `mysql`. */
  readonly kind: 'postgres' | 'mysql' | 'mariadb';

  /** What stands for a key on the server. */
  claimOf(key: string, label: string | null): SessionClaim;

  /**
   * Makes a connection that is not of the application's pool, and prepares it for long waits.
   *
   * @throws LockStoreError where locks of the session would exclude nobody
   */
  connect(): Promise<LockSession>;

  /**
   * Takes the lock, waiting on the server; `undefined` when somebody else has it to the end of the wait.
   *
   * @param wait milliseconds, 0 for none
   * @returns the fencing token: the server's clock in microseconds, after the lock was granted
   * @throws LockStoreError when the server takes no writes any longer, see `onDemotedServer`
   */
  take(
    session: LockSession,
    claim: SessionClaim,
    wait: number,
    signal?: AbortSignal,
  ): Promise<number | undefined>;

  /**
   * Whether the session holds the lock, as the server says.
   *
   * @throws LockStoreError when the server takes no writes any longer, see `onDemotedServer`
   */
  holds(session: LockSession, claim: SessionClaim): Promise<boolean>;

  /** Gives the lock back; `false` when the session did not hold it. */
  free(session: LockSession, claim: SessionClaim): Promise<boolean>;

  /** Has the server end a session of this store that holds the lock or asks for it; by another connection, since its own is busy or dead. */
  end(session: LockSession, claim: SessionClaim): Promise<void>;

  /** Ends the sessions that hold the lock, of any process, and gives their ids. */
  endHolders(claim: SessionClaim): Promise<string[]>;

  /** The server's clock, in epoch milliseconds. */
  readClock(): Promise<number>;

  /** The ids of the sessions that hold the lock, as `endHolders` gives them. */
  holders(claim: SessionClaim): Promise<string[]>;

  /**
   * Who holds this lock, or any lock with a prefix, as far as its holder has said so.
   *
   * @param by a session of the store's that has nothing else to do
   * @throws LockStoreError where the server cannot tell
   */
  look(which: SessionsToLookAt, by?: LockSession): Promise<SessionLook[]>;
}
