/**
 * The holder of a lock, as the store reports it. It never carries the owner id, because code
 * that knows the id can release the lock.
 *
 * @publicApi
 */
export interface LockRecord {
  /**
   * The key as it is stored. A key over the store's limit ends in its SHA-256, see
   * {@link fitKey}.
   */
  key: string;
  /** The holder's name for people, by default `hostname:pid`; `null` if it has no name. */
  label: string | null;
  /** The token of this grant. It is greater than that of every earlier grant of the key. */
  fencingToken: number;
  /** When this holder was granted the lock, by the store's clock. */
  startedAt: Date;
  /** When the lease was last renewed, by the store's clock. */
  renewedAt: Date;
  /**
   * When the lease ends unless it is renewed, by the store's clock; `null` for a lock that
   * never expires.
   */
  expiresAt: Date | null;
  /**
   * Milliseconds left when the store answered, by its clock; `Infinity` for a lock that never
   * expires.
   */
  remaining: number;
  /** How many waiters the lock has on the server. Only lists of session locks report it. */
  waiters?: number;
}

/**
 * How the work under a lock ended. A lease that expired without a release counts as `failed`.
 *
 * @publicApi
 */
export type LockOutcome = 'done' | 'failed';

/**
 * The run of a key that ended last.
 *
 * @publicApi
 */
export interface LockRun {
  /** The name of the process that did the work, for people; `null` if it has no name. */
  label: string | null;
  /** When the lock of the run was granted, by the store's clock. */
  startedAt: Date;
  /** When the lock was released or its lease ended, by the store's clock. */
  endedAt: Date;
  /** How the work ended. */
  outcome: LockOutcome;
}

/**
 * The state of a key: `held` while a lease lasts, `expired` if the lease expired without a
 * release, and otherwise `free`, even for a key that was never locked.
 *
 * @publicApi
 */
export type LockInspection = LockHistory &
  (
    | {
        /** Whether the key is held, free, or was left by a holder whose lease has expired. */
        state: 'free';
        /** The key that was inspected. */
        key: string;
      }
    | {
        /** Whether the key is held, free, or was left by a holder whose lease has expired. */
        state: 'held' | 'expired';
        /** The key that was inspected. */
        key: string;
        /** The holder, or the last holder if its lease has expired. */
        holder: LockRecord;
      }
  );

/** What the store knows of a key besides its holder. @publicApi */
export interface LockHistory {
  /** The run that ended last; absent before the first run has ended. */
  lastRun?: LockRun;
  /** The nominal time of the last run of a key that runs once per tick. */
  lastTick?: Date;
  /**
   * How many ticks have passed without a run since then, not counting the last minute; at most
   * 100. `LockAdmin` adds it for the registered cron jobs of its application.
   */
  missed?: number;
  /** `true` if the key is paused: no call gets it until it is resumed. */
  paused?: true;
}

/**
 * One page of held locks, ordered by key.
 *
 * @publicApi
 */
export interface LockPage {
  /** The locks of this page. */
  locks: LockRecord[];
  /** The value to pass as `after` to get the next page. The last page has no `next`. */
  next?: string;
}
