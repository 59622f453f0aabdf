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
  /** The worker's name for people, by default `hostname:pid`; `null` if it sent none. */
  label: string | null;
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
  /** How many waiters the lock has on the server. Only the lists of session locks have it. */
  waiters?: number;
}

/**
 * How the work under a lock ended. A lease that expired without a release counts as `failed`.
 *
 * @publicApi
 */
export type LockOutcome = 'done' | 'failed';

/**
 * The last run of a key that has ended.
 *
 * @publicApi
 */
export interface LockRun {
  label: string | null;
  startedAt: Date;
  endedAt: Date;
  outcome: LockOutcome;
}

/**
 * The state of a key: `held` while a lease lasts, `expired` if the lease expired without a
 * release, and otherwise `free`, also for a key that was never locked.
 *
 * @publicApi
 */
export type LockInspection = LockHistory &
  ({ state: 'free'; key: string } | { state: 'held' | 'expired'; key: string; holder: LockRecord });

/** What the store knows of a key besides its holder. @publicApi */
export interface LockHistory {
  lastRun?: LockRun;
  /** The nominal time of the last run of a key that runs once per tick. */
  lastTick?: Date;
  /**
   * How many ticks without a run there were since, not counting the last minute; at most 100.
   * `LockAdmin` adds it for the registered cron jobs of its application.
   */
  missed?: number;
  /** No call gets the key until it is resumed. */
  paused?: true;
}

/**
 * One page of held locks, ordered by key.
 *
 * @publicApi
 */
export interface LockPage {
  locks: LockRecord[];
  /** Pass it as `after` to get the next page. The last page has none. */
  next?: string;
}
