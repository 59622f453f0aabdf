/**
 * Who holds a lock, as the store tells it. It never carries the owner id: that id is a capability.
 *
 * @publicApi
 */
export interface LockRecord {
  /** The key as it is stored; keys over the store's limit end in their SHA-256 (see {@link fitKey}). */
  key: string;
  /** The worker's name for people, by default `hostname:pid`; `null` when it sent none. */
  label: string | null;
  fencingToken: number;
  /** When this holder was granted the lock, by the store's clock. */
  startedAt: Date;
  /** When the lease was last renewed, by the store's clock. */
  renewedAt: Date;
  /** When the lease ends unless it is renewed, by the store's clock; `null` for a lock that never expires. */
  expiresAt: Date | null;
  /** Milliseconds left when the store answered, by its clock; `Infinity` for a lock that never expires. */
  remaining: number;
  /** How many wait for it on the server, in lists of stores that know it: those of session locks. */
  waiters?: number;
}

/**
 * How the work under a lock ended: `failed` also when its lease ran out without a release.
 *
 * @publicApi
 */
export type LockOutcome = 'done' | 'failed';

/**
 * The last holder that is gone.
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
 * The state of a key: `held` while a lease runs, `expired` when a lease ran out without a
 * release, `free` when no lease is left, also for a key that was never locked.
 *
 * @publicApi
 */
export type LockInspection = LockHistory &
  ({ state: 'free'; key: string } | { state: 'held' | 'expired'; key: string; holder: LockRecord });

/** What is known of a key besides its holder. @publicApi */
export interface LockHistory {
  lastRun?: LockRun;
  /** The nominal time of the last run of a key that runs once per tick. */
  lastTick?: Date;
  /**
   * How many ticks have gone by since, a minute ago or more, without a run; up to 100. Told by
   * `LockService` for cron jobs of its application, where one is registered.
   */
  missed?: number;
  /** Nobody gets the key until it is resumed. */
  paused?: true;
}

/**
 * One page of held locks, ordered by key.
 *
 * @publicApi
 */
export interface LockPage {
  locks: LockRecord[];
  /** Pass it as `after` to get the next page; absent on the last one. */
  next?: string;
}
