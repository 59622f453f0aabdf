import type { InjectionToken } from '@nestjs/common';
import type { LockInspection, LockOutcome, LockPage, LockRecord } from './lock-record.interface.js';

/** The options that every request to a store may have. @publicApi */
export interface StoreRequest {
  /**
   * The time limit of the call in milliseconds. The engine waits no longer for the answer. The
   * wait for a connection, the statement and its repetitions share this time. Default: a limit
   * of the store's own.
   */
  timeout?: number;
}

/** The options that an acquisition may have besides key, owner and ttl. @publicApi */
export interface AcquireRequest extends StoreRequest {
  /** The holder's name for people. */
  label?: string;
  /**
   * Repeats a request of this owner whose answer was lost. If the first request was granted,
   * the store grants it again with the same token and a full ttl. It does so even if that
   * grant recorded the tick, or the key was paused since. Without `resend`, the store refuses
   * a held key to its own owner too.
   */
  resend?: boolean;
  /**
   * Takes the lock from a holder that last acquired or renewed it this many milliseconds ago
   * or longer, even if the lease never expires. A key that a release keeps taken is not
   * stolen.
   */
  stealAfter?: number;
  /**
   * Grants the lock for this run only, and only once. The store records the tick of the run
   * with the key. It refuses a later acquisition for the same run, or for an earlier one, with
   * `tick-done`, whether the key is held or free. See {@link OnceRequest} for `failOver`.
   */
  once?: OnceRequest;
  /**
   * How many milliseconds to wait for a held key; `Infinity` waits without end. For stores
   * that are {@link SessionBound}, which wait on the server. Default 0: the store does not
   * wait.
   */
  wait?: number;
  /**
   * When this signal aborts, the store ends the wait, refuses the request and leaves nothing
   * behind. For stores that are {@link SessionBound}.
   */
  signal?: AbortSignal;
  /**
   * Whether the caller goes on waiting after a refusal. If it does, a store that is
   * {@link WakeUps} queues this process for the key.
   */
  waiting?: boolean;
}

/**
 * A run that happens once over all instances. The store records its tick with the key when it
 * grants the lock.
 *
 * `tick` is the nominal time of the run in epoch milliseconds. The store refuses a tick with
 * `tick-ahead` if it lies more than `ahead` milliseconds ahead of the store's clock. So one
 * wrong clock does not keep the key from running. The store ignores a recorded tick that lies
 * further ahead. Without `failOver`, it refuses the tick as `tick-done` from the grant on.
 * With `failOver`, it refuses the tick of a holder as `held` while the lease lasts. If the
 * lease has expired or is stolen, it grants the tick again.
 *
 * `slot` is the length in milliseconds of slots of the store's own clock, counted from the
 * epoch. The tick is the beginning of the slot.
 *
 * `gap` is for how many milliseconds after the recorded start the key does not run again. The
 * tick is the store's clock when it grants the lock. The store ignores a recorded start that
 * is later than its clock by more than the gap, or by more than a second.
 *
 * @publicApi
 */
export type OnceRequest =
  | {
      /** The nominal time of the run, in epoch milliseconds. */
      tick: number;
      /** Milliseconds that the tick may be ahead of the store's clock. */
      ahead: number;
      /** Whether the tick is granted again when its holder has lost the lease. */
      failOver?: boolean;
    }
  | {
      /** The length of a slot in milliseconds. */
      slot: number;
    }
  | {
      /**
       * Milliseconds after the start of a run in which the key is not granted to another run.
       */
      gap: number;
    };

/** How a lock is released. @publicApi */
export interface ReleaseRequest extends StoreRequest {
  /** Keeps the key taken, without a holder, for this many milliseconds after the release. */
  keepFor?: number;
  /** How the work ended, for the run history. Default `done`. */
  outcome?: LockOutcome;
  /**
   * Whether calls of this process wait for the key. If they do, a store that is
   * {@link WakeUps} queues this process again, behind the other processes.
   */
  waiting?: boolean;
}

/**
 * Why an acquisition was refused.
 *
 * - `held`: the key has a holder, or a release keeps it taken.
 * - `contention`: the attempt collided with another one (serialization failure, deadlock,
 *   duplicate key), so the store knows nothing about the holder.
 * - `tick-ahead`: the tick lies too far ahead of the store's clock.
 * - `paused`: no call gets the key until it is resumed.
 * - `tick-done`: this run, or a later one, has begun before.
 *
 * Waiting is useless after the last three. If several reasons apply, the store gives the first
 * of `tick-ahead`, `paused`, `tick-done` and `held`.
 *
 * A later version may add a reason, so give a `switch` over it a `default`.
 *
 * @publicApi
 */
export type RefusalReason = 'held' | 'contention' | 'paused' | 'tick-done' | 'tick-ahead';

/** The store's answer to an acquisition. @publicApi */
export type LockAcquireResult =
  | {
      /** Whether the lock was granted. */
      acquired: true;
      /** The token of the grant. It is greater than all earlier tokens of the key. */
      fencingToken: number;
      /**
       * The recorded tick, if the store ignored it because it lies too far ahead of the
       * store's clock.
       */
      ignoredTick?: Date;
    }
  | {
      /** Whether the lock was granted. */
      acquired: false;
      /**
       * Why the lock was refused. Default: `held` if the store names a holder, otherwise
       * `contention`.
       */
      reason?: RefusalReason;
      /** The holder, if the store knows it. */
      holder?: LockRecord;
      /**
       * Whether the store notifies this process when the key may be free, see {@link WakeUps}.
       * The waiters of this process then poll rarely.
       */
      queued?: boolean;
    };

/** The answer to an acquisition that does not get the lock. @publicApi */
export type Refusal = Extract<LockAcquireResult, { acquired: false }>;

/**
 * The port that every store implements: three operations. Each is atomic, and decides by the
 * store's own clock.
 *
 * Without the optional last arguments it is the contract of `@nestjs/locks`, so a store plugs
 * into that package as it is. A busy key is a result. If the store fails, it rejects with
 * {@link LockStoreError}.
 *
 * @publicApi
 */
export interface LockStore {
  /**
   * Takes the key if it is free or its lease has expired. The store refuses a held key to
   * every owner, even to its holder (but see `resend`). The fencing token is greater than all
   * earlier tokens of the key, even after release, expiry and deletion.
   *
   * @param ttl milliseconds; `Number.MAX_SAFE_INTEGER` never expires
   */
  acquire(key: string, owner: string, ttl: number, request?: AcquireRequest): Promise<LockAcquireResult>;

  /**
   * Sets the lease to end `ttl` milliseconds from now. Resolves to `false`, and changes
   * nothing, if the lease has expired or is not this owner's.
   */
  renew(key: string, owner: string, ttl: number, request?: StoreRequest): Promise<boolean>;

  /**
   * Ends the lease of this owner. Resolves to `false`, and changes and creates nothing, if the
   * lease has expired or is not this owner's.
   */
  release(key: string, owner: string, end?: ReleaseRequest): Promise<boolean>;
}

/**
 * A store that notifies waiting processes when a key becomes free, one after the other, so
 * that they need not poll often.
 *
 * @publicApi
 */
export interface WakeUps {
  /**
   * `false` if the database cannot notify processes. The engine then polls, as with a store
   * without `WakeUps`. The store sets it when it opens.
   */
  readonly notifiesWaiters: boolean;
  /**
   * Registers a listener. The store calls it with a key that may be free, if this process is
   * queued for the key, or released it while no other process was queued. The store calls it
   * without a key when it may have missed notifications.
   *
   * @param listener returns `true` if a waiter of this process wants the key; otherwise the
   * store notifies the next process. `othersPoll`: the store does not notify this process of
   * the key, so other processes may be polling too
   */
  onReleased(listener: (key?: string, othersPoll?: boolean) => boolean): void;
}

/** One lease in a batch renewal. @publicApi */
export interface LeaseRenewal {
  /** The key of the lease. */
  key: string;
  /** The owner id of the lease. */
  owner: string;
  /** Milliseconds from now at which the lease is to end. */
  ttl: number;
}

/**
 * How the renewal of one lease has ended. With `unknown`, the store could not find out whether
 * the lease is held, or could not reach its row. The engine then renews the lease again.
 *
 * @publicApi
 */
export type RenewalOutcome = 'renewed' | 'lost' | 'unknown';

/**
 * A store that renews many leases in one statement.
 *
 * @publicApi
 */
export interface BatchRenewer {
  /**
   * Resolves to the outcome of each lease, in the order given. A lease that is lost, or whose
   * row is locked, never delays the others.
   */
  renewMany(leases: readonly LeaseRenewal[], request?: StoreRequest): Promise<RenewalOutcome[]>;
}

/** The waiter that gets a released lock. @publicApi */
export interface WaiterRequest {
  /** The owner id of the waiter. It differs from that of the holder. */
  owner: string;
  /** The ttl of the waiter's lease, in milliseconds. */
  ttl: number;
  /** The waiter's name for people. */
  label?: string;
}

/**
 * A store that releases a lock to a waiter in one step. No other owner gets the key in
 * between, and it takes one statement instead of two.
 *
 * @publicApi
 */
export interface WaiterRelease {
  /**
   * Ends the lease of this owner as `release` does, and grants the key to `next` as `acquire`
   * does, with a new, larger token. The last tick stays as it is.
   *
   * The store refuses, and changes nothing, if the lease has expired, is not this owner's, or
   * the key is paused. So a request that is carried out twice changes nothing the second time.
   */
  releaseToWaiter(
    key: string,
    owner: string,
    next: WaiterRequest,
    end?: Pick<ReleaseRequest, 'outcome' | 'timeout'>,
  ): Promise<LockAcquireResult>;
}

/** Which locks to list. @publicApi */
export interface ListRequest {
  /** Only keys that start with this text are listed. */
  prefix?: string;
  /** Page size, 1 to 1000. */
  limit: number;
  /** The `next` of the previous page. Without it, the store gives the first page. */
  after?: string;
}

/** Which keys to purge. @publicApi */
export interface PurgeRequest {
  /** Only keys that start with this text are purged. */
  prefix?: string;
  /**
   * Milliseconds since the last use of the key, 0 or more. The last use is the latest of
   * these: its last grant, renewal or release, the end of its lease, and its last tick.
   */
  olderThan: number;
}

/**
 * A store that shows its locks to operators, and lets them free and delete keys.
 *
 * @publicApi
 */
export interface LockInspector {
  /** Reports the state of a key, its holder and its last run. */
  inspect(key: string): Promise<LockInspection>;
  /**
   * Reports whether the key is held. A store has this method if it can find that out even when
   * `inspect` fails because the holder cannot be found.
   */
  isHeld?(key: string): Promise<boolean>;
  /** The locks that are held now, ordered by key, in one query. */
  list(request: ListRequest): Promise<LockPage>;
  /**
   * Frees a key, whatever its owner. Resolves to `false` if the key is free already. The token
   * keeps growing.
   */
  forceRelease(key: string): Promise<boolean>;
  /**
   * Deletes free keys that were not used for the time given, with their run history. It never
   * deletes a key that is held, kept or paused. The token keeps growing.
   *
   * @returns how many keys were deleted
   */
  purge(request: PurgeRequest): Promise<number>;
}

/**
 * A store whose keys can be paused, for all instances of the application.
 *
 * @publicApi
 */
export interface LockPauser {
  /**
   * Grants the key to no call until it is resumed. Its holder keeps the lock, and can renew
   * and release it. Resolves to `false` if the key is paused already.
   */
  pause(key: string): Promise<boolean>;
  /** Ends the pause. Resolves to `false` if the key is not paused. */
  resume(key: string): Promise<boolean>;
}

/**
 * A store that can run a key once per tick. It understands `once` in an
 * {@link AcquireRequest}.
 *
 * @publicApi
 */
export interface OnceKeeper {
  /**
   * `false` if the database may forget ticks, for example in a crash. The engine then refuses
   * the option `once`.
   */
  readonly keepsOnce: boolean;
}

/**
 * A store that understands `once`, but forgets the ticks when its process ends. This is enough
 * for the default of scheduled methods in an application of one process, but not for the
 * option `once`.
 *
 * @publicApi
 */
export interface TickKeeper {
  /** Whether the store keeps ticks while its process runs. */
  readonly keepsTicks: boolean;
}

/**
 * A store whose locks last as long as a connection, and have no ttl. The engine does not renew
 * them, since the store notices by itself when a lock is lost. `renew` checks with the server
 * whether a lock is still held. `acquire` understands `wait` and `signal`.
 *
 * @publicApi
 */
export interface SessionBound {
  /** Tells the engine that locks have no ttl, and that the store waits on the server. */
  readonly sessionBound: true;
  /**
   * Registers a listener. The store calls it once for each lock that it lost before the owner
   * released it, as soon as it notices the loss.
   */
  watch(lost: (key: string, owner: string, reason: string) => void): void;
}

/**
 * A store that can tie a lock to a transaction of its database. So no change is committed
 * under a lock that was lost.
 *
 * @publicApi
 */
export interface TransactionGuard {
  /**
   * Runs `work` in a transaction of its own and commits. If `work` rejects, it rolls back and
   * rejects with the same error. On MongoDB, it runs `work` again after a conflict.
   *
   * @param work gets the client's own transaction object for its statements, such as an
   * `EntityManager`, a `Prisma.TransactionClient` or a `ClientSession`
   * @param request `timeout` is the rest of the lease. A client that limits the time of its
   * transactions needs it. The transaction may take longer: its guard decides whether it
   * commits
   * @throws LockStoreError when the transaction itself fails
   */
  transaction<T>(work: (context: unknown) => Promise<T>, request?: StoreRequest): Promise<T>;
  /**
   * Makes sure that no other owner gets the lock until the caller's transaction ends; other
   * calls wait for the transaction. Resolves to `false` if the lease has expired, is not this
   * owner's, or has another token.
   *
   * @param context the client's own object for the caller's transaction
   * @throws LockError when `context` is no transaction of this database, or its isolation
   * level does not allow a guard
   */
  guard(context: unknown, key: string, owner: string, fencingToken: number): Promise<boolean>;
  /**
   * Returns a function that reports whether the transaction of `context` is still open. The
   * function sends nothing to a server. With it, the engine frees a lock that was released
   * inside its guarding transaction after the commit or the rollback. Without it, such a
   * release fails.
   */
  watchTransaction?(context: unknown): () => boolean;
}

/**
 * A store that has to be opened and closed.
 *
 * @publicApi
 */
export interface StoreLifecycle {
  /**
   * Connects, checks the database, and creates or checks the table.
   *
   * @throws LockStoreError when the store cannot work
   */
  prepare(): Promise<void>;
  /**
   * Names a ttl that this process uses, in milliseconds. The engine names the ttls of the
   * module and of each decorator before `prepare`. If the data of the store vanishes while it
   * runs, it grants nothing until the longest of these ttls has passed.
   */
  expectTtl?(ttl: number): void;
  /** Closes what the store opened itself, and nothing that the application gave to it. */
  close(): Promise<void>;
}

/**
 * A store that can work in spite of some problems, and warns operators of them.
 *
 * @publicApi
 */
export interface StoreWarnings {
  /**
   * Sets the function that receives the warnings, before `prepare`. A later call replaces it.
   *
   * @param warn `topic` names the cause; warnings with the same topic are logged once a minute
   */
  onWarning(warn: (topic: string, message: string) => void): void;
}

/**
 * A store that judges leases by the clock of another machine.
 *
 * @publicApi
 */
export interface StoreClock {
  /**
   * Reads the clock by which the store judges leases, in epoch milliseconds. The engine calls
   * it at start, and when locking is enabled.
   */
  readClock(): Promise<number>;
}

/** How a store names itself in the line logged at start. @publicApi */
export interface StoreDescription {
  /**
   * The text for the log, such as `store=postgres table=locks`. It never contains a connection
   * string.
   */
  describe(): string;
}

/** A store with all the methods and properties that a store may implement. @publicApi */
export type AnyLockStore = LockStore &
  Partial<
    BatchRenewer &
      LockInspector &
      LockPauser &
      OnceKeeper &
      SessionBound &
      StoreClock &
      StoreDescription &
      StoreLifecycle &
      StoreWarnings &
      TickKeeper &
      TransactionGuard &
      WaiterRelease &
      WakeUps
  >;

/**
 * How Nest's container creates a store, as `typeOrmStore()` and `memoryStore()` return it.
 *
 * @publicApi
 */
export interface LockStoreDefinition {
  /** The providers that `useFactory` gets, in this order. */
  inject?: InjectionToken[] | undefined;
  /** Makes the store. Nest calls it when the providers of `inject` exist. */
  useFactory(...dependencies: unknown[]): LockStore | Promise<LockStore>;
}
