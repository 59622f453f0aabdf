import type { InjectionToken } from '@nestjs/common';
import type { LockInspection, LockOutcome, LockPage, LockRecord } from './lock-record.interface.js';

/** What the caller of a store says about its own patience. @publicApi */
export interface StoreRequest {
  /**
   * Milliseconds from the call on after which its caller does not wait for the answer. The wait
   * for a connection, the statement and its repetitions share them. Default: a limit of the
   * store's own.
   */
  timeout?: number;
}

/** What an acquisition may tell the store besides key, owner and ttl. @publicApi */
export interface AcquireRequest extends StoreRequest {
  /** The worker's name for people. */
  label?: string;
  /**
   * Repeats an attempt of this owner whose answer was lost: only then may the owner find its own lock taken, and gets it again, with the same
   * token and a full ttl; also when its tick has begun by that, or the key was paused since.
   */
  resend?: boolean;
  /**
   * Takes the lock also from a holder that last acquired or renewed it this many milliseconds ago or longer, even one whose lease never ends. A key
   * that is merely kept after a release is not stolen.
   */
  stealAfter?: number;
  /**
   * Grants the lock for this run only, and only once: the run is kept with the key, and a later acquisition for the same run, or for one before it, is
   * refused with `tick-done`, whether the key is held or free.
   */
  once?: OnceRequest;
  /**
   * How many milliseconds to wait for a key that somebody holds, `Infinity` without end; for stores that are {@link SessionBound}, which wait on the
   * server. Default 0: not at all.
   */
  wait?: number;
  /** Gives up the wait: the answer is a refusal then, and nothing is left behind. For stores that are {@link SessionBound}. */
  signal?: AbortSignal;
  /** The caller goes on waiting when it is refused; for stores that are {@link WakeUps}, which queue it then. */
  waiting?: boolean;
}

/**
 * A run that happens once over all instances. The store records its tick with the key when it
 * grants the lock.
 *
 * `tick` is the nominal time of the run in epoch milliseconds. A tick more than `ahead`
 * milliseconds ahead of the store's clock is refused with `tick-ahead`, so that one wrong
 * clock does not keep the key from running. A recorded tick that lies further ahead is
 * ignored. With `failOver`, the tick of a holder is refused as `held` while its lease lasts,
 * and granted again when the lease has expired or is stolen. Without `failOver`, it is refused
 * as `tick-done` from the grant on.
 *
 * `slot` is the length in milliseconds of slots of the store's own clock, counted from the
 * epoch: the tick is the beginning of the slot.
 *
 * `gap` is for how many milliseconds after the recorded start the key does not run again. The
 * tick is the store's clock when the lock is granted. A recorded start is ignored when it is
 * later than the store's clock by more than the gap, or by more than a second.
 *
 * @publicApi
 */
export type OnceRequest =
  { tick: number; ahead: number; failOver?: boolean } | { slot: number } | { gap: number };

/** How a lock is given back. @publicApi */
export interface ReleaseRequest extends StoreRequest {
  /** Keeps the key taken for this many more milliseconds, with no holder. */
  keepFor?: number;
  /** How the work ended, for the run history. Default `done`. */
  outcome?: LockOutcome;
  /** Others of this process wait for the key: they queue behind those of other processes. For stores that are {@link WakeUps}. */
  waiting?: boolean;
}

/**
 * Why an acquisition was refused. `held`: somebody has it. `contention`: the attempt collided (serialization failure, deadlock, duplicate key) and
 * knows nothing about the holder. The others are final, and come before `held` in this order: `tick-ahead` (the tick lies too far ahead of the
 * store's clock), `paused` (no call gets the key until it is resumed), `tick-done` (this run, or a later one, has begun before).
 *
 * The list is open: a later version may add a reason. Give a `switch` over it a `default`.
 *
 * @publicApi
 */
export type RefusalReason = 'held' | 'contention' | 'paused' | 'tick-done' | 'tick-ahead';

/** The answer to an acquisition. @publicApi */
export type LockAcquireResult =
  | {
      acquired: true;
      fencingToken: number;
      /**
       * The recorded tick, if the store ignored it because it lies too far ahead of the
       * store's clock.
       */
      ignoredTick?: Date;
    }
  | {
      acquired: false;
      reason?: RefusalReason;
      holder?: LockRecord;
      /** The store calls this process when the key is free, see {@link WakeUps}: there is no need to ask often. */
      queued?: boolean;
    };

/**
 * The port every store implements: three operations, each atomic and judged by the store's own clock.
 *
 * Without the optional last arguments this is the contract of `@nestjs/locks`, so a store plugs into it as it is. Contention is a value; a
 * failure of the store is a {@link LockStoreError}.
 *
 * @publicApi
 */
export interface LockStore {
  /**
   * Takes the key if it is free or its lease has run out. A held lock is refused to everybody, also to the same owner string (but see `resend`).
   * The fencing token is greater than all earlier ones of the key, also after release, expiry and deletion.
   *
   * @param ttl milliseconds; `Number.MAX_SAFE_INTEGER` never expires
   */
  acquire(key: string, owner: string, ttl: number, request?: AcquireRequest): Promise<LockAcquireResult>;

  /** Sets the lease to end `ttl` milliseconds from now, if it is still this owner's and has not run out; `false` otherwise. Never revives. */
  renew(key: string, owner: string, ttl: number, request?: StoreRequest): Promise<boolean>;

  /** Frees the key, if it is still this owner's and has not run out; `false` otherwise. Creates nothing. */
  release(key: string, owner: string, end?: ReleaseRequest): Promise<boolean>;
}

/**
 * A store that calls waiting processes when a key becomes free, one after the other, so that they need not ask again and again.
 *
 * @publicApi
 */
export interface WakeUps {
  /** `false` where it cannot, as on a database that has nothing to call with: then it is as if the store were none of these. Known once it is open. */
  readonly notifiesWaiters: boolean;
  /**
   * Has `free` called when a key may be had for which an acquisition of this process was `queued`, or that this process has released with nobody
   * else in the queue; without a key when any may be, since calls may have been missed.
   *
   * @param free answers whether somebody here still waits for the key: if not, the store calls the next process. `othersAsk`: this process cannot be
   * called for the key, and so maybe others cannot, who find it free only when they happen to ask
   */
  onReleased(free: (key?: string, othersAsk?: boolean) => boolean): void;
}

/** One lease in a batch renewal. @publicApi */
export interface LeaseRenewal {
  key: string;
  owner: string;
  ttl: number;
}

/** `unknown`: the store could not tell or could not reach the row now; it is asked again. @publicApi */
export type RenewalOutcome = 'renewed' | 'lost' | 'unknown';

/**
 * A store that renews many leases in one statement.
 *
 * @publicApi
 */
export interface BatchRenewer {
  /** Answers for each lease, in the order given. One lease that is locked or lost never holds up the others. */
  renewMany(leases: readonly LeaseRenewal[], request?: StoreRequest): Promise<RenewalOutcome[]>;
}

/** Who gets a lock next. @publicApi */
export interface WaiterRequest {
  /** Another one than the owner that it gets the lock from. */
  owner: string;
  ttl: number;
  label?: string;
}

/**
 * A store that gives a lock from one holder to the next in one step: nobody comes in between, and it is one statement instead of two.
 *
 * @publicApi
 */
export interface WaiterRelease {
  /**
   * Ends the lease of this owner as `release` does, and grants the key to `next` as `acquire` does, with a new, larger token. Nothing is changed, and
   * the answer is a refusal, unless the lease is still this owner's, has not run out, and the key is not paused; so a request that is carried out
   * twice changes nothing the second time. The last tick stays as it is.
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
  /** Only keys that start with this. */
  prefix?: string;
  /** Page size, 1 to 1000. */
  limit: number;
  /** The `next` of the page before. */
  after?: string;
}

/** Which keys to purge. @publicApi */
export interface PurgeRequest {
  /** Only keys that start with this. */
  prefix?: string;
  /** Milliseconds, 0 or more, since the key was last acquired or renewed, was released, its lease ran out, or its last tick. */
  olderThan: number;
}

/**
 * A store that can be looked into.
 *
 * @publicApi
 */
export interface LockInspector {
  inspect(key: string): Promise<LockInspection>;
  /** Whether somebody holds the key, for stores that can tell that where they cannot tell who: then `inspect` fails. */
  isHeld?(key: string): Promise<boolean>;
  /** The locks that are held now, ordered by key, in one query. */
  list(request: ListRequest): Promise<LockPage>;
  /** Frees a key whoever holds it; `false` when nobody does. The token keeps growing. */
  forceRelease(key: string): Promise<boolean>;
  /**
   * Deletes keys that are free and have not been used for this long, with their run history, and tells how many. Never a key that is held, kept
   * or paused. The token keeps growing.
   */
  purge(request: PurgeRequest): Promise<number>;
}

/**
 * A store whose keys can be paused, for all instances of the application.
 *
 * @publicApi
 */
export interface LockPauser {
  /** Nobody gets the key from here on, until it is resumed; who holds it goes on, renews and releases. `false` when it was paused already. */
  pause(key: string): Promise<boolean>;
  /** `false` when it was not paused. */
  resume(key: string): Promise<boolean>;
}

/**
 * A store that can run a key once per tick: it understands `once` in an {@link AcquireRequest}.
 *
 * @publicApi
 */
export interface OnceKeeper {
  /** `false` where that may be forgotten, as in a crash of the database: nothing is run once per tick there. */
  readonly keepsOnce: boolean;
}

/**
 * A store that understands `once`, but forgets the ticks when its process ends. That is enough
 * for the default of scheduled methods in an application of one process, and not for the
 * option `once`.
 *
 * @publicApi
 */
export interface TickKeeper {
  readonly keepsTicks: boolean;
}

/**
 * A store whose locks last as long as a connection, and not for a ttl: they are not renewed, and the store notices by itself when one is lost. `renew`
 * asks the server whether a lock is still held, and `acquire` understands `wait` and `signal`.
 *
 * @publicApi
 */
export interface SessionBound {
  readonly sessionBound: true;
  /** Has each loss told from here on, at once and once: that of a lock which was granted to this owner and not given back. */
  watch(lost: (key: string, owner: string, reason: string) => void): void;
}

/**
 * A store that can tie a lock to a transaction of its database, so that nothing is committed under a lock that was lost.
 *
 * @publicApi
 */
export interface TransactionGuard {
  /**
   * Runs `work` in a transaction of its own and commits; rolls back when `work` rejects, and rejects with the same. Where the database is one that
   * asks for it (MongoDB), `work` is run again after a conflict.
   *
   * @param work gets what statements in the transaction are made with: an `EntityManager`, a `ClientSession`
   * @throws LockStoreError when the transaction itself fails
   */
  transaction<T>(work: (context: unknown) => Promise<T>): Promise<T>;
  /**
   * Makes sure, from inside a transaction and until it ends, that nobody else gets the lock: `false` unless the lease is this owner's, has this token
   * and has not run out. A contender waits for the transaction.
   *
   * @param context what statements in the caller's transaction are made with
   * @throws LockError when that is no transaction of this database, or its isolation level does not allow it
   */
  guard(context: unknown, key: string, owner: string, fencingToken: number): Promise<boolean>;
  /**
   * Gives a function that reports whether the transaction of `context` is still open. The
   * function sends nothing to a server. With it, a lock that is released inside the
   * transaction that guards it is freed after the commit or the rollback. Without it, such a
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
  /** Connects, checks what the database can do, makes or checks the table. Rejects with {@link LockStoreError} when it cannot work. */
  prepare(): Promise<void>;
  /**
   * Names a ttl that this process uses, in milliseconds. The ttls of the module and of each
   * decorator are named before `prepare`. If the data of the store vanishes while it runs, it
   * grants nothing until the longest of them has passed.
   */
  expectTtl?(ttl: number): void;
  /** Closes what the store opened, and nothing that was handed in. */
  close(): Promise<void>;
}

/**
 * A store that warns operators of problems in spite of which it works.
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
  /** Reads that clock, in epoch milliseconds. Called at start, and when locking is enabled. */
  readClock(): Promise<number>;
}

/** How a store names itself in the line logged at start. @publicApi */
export interface StoreDescription {
  /** Such as `store=postgres table=locks`; never a connection string. */
  describe(): string;
}

/** A store, and all that it may implement besides. @publicApi */
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
 * How the container makes a store, as `typeOrmStore()` and `memoryStore()` return it.
 *
 * @publicApi
 */
export interface LockStoreDefinition {
  /** What `useFactory` gets, in this order. */
  inject?: InjectionToken[] | undefined;
  useFactory(...dependencies: unknown[]): LockStore | Promise<LockStore>;
}
