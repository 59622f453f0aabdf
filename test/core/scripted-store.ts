import type { LockInspection, LockPage } from '../../lib/interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  BatchRenewer,
  LeaseRenewal,
  ListRequest,
  LockAcquireResult,
  LockInspector,
  WaiterRelease,
  LockPauser,
  LockStore,
  PurgeRequest,
  ReleaseRequest,
  RenewalOutcome,
  StoreRequest,
  WaiterRequest,
  WakeUps,
} from '../../lib/interfaces/lock-store.interface.js';
import { LockStoreError } from '../../lib/lock.errors.js';
import { MemoryLockStore } from '../../lib/stores/memory/memory-lock.store.js';
import type { ManualClock } from './manual-clock.js';

export type Operation = 'acquire' | 'renew' | 'renewMany' | 'release' | 'releaseToWaiter';

/**
 * What happens to one request on its way and at the server. Times are milliseconds on the
 * manual clock.
 */
export interface Fate {
  /** Milliseconds that the request takes to the server. */
  before?: number;
  /** Milliseconds that the answer takes from the server. */
  after?: number;
  /**
   * The link breaks before (`request`) or after (`answer`) the request is carried out. The
   * caller gets a transient error.
   */
  lose?: 'request' | 'answer';
  /**
   * The link breaks at once with a transient error, and the server carries out the request
   * after this time.
   */
  lateAfterBreak?: number;
  /**
   * No answer ever comes: with `request`, the request gets lost; with `answer`, it is carried
   * out.
   */
  hang?: 'request' | 'answer';
  /** The server refuses: it carries out nothing, and the caller gets this error. */
  fail?: () => Error;
  /** The server gives this answer without carrying out the request. */
  answer?: unknown;
  /** The request is carried out a second time, this many milliseconds after the first. */
  twiceAfter?: number;
  /** Runs when the request reaches the server. */
  arrived?: () => void;
}

/** One call of the store. */
export interface StoreCall {
  operation: Operation;
  at: number;
  key: string;
  owner: string;
  ttl?: number;
  /** The request without its time limit. */
  request?: AcquireRequest | ReleaseRequest;
  /** The time limit of the request. */
  timeout?: number;
  renewals?: readonly LeaseRenewal[];
  /** The waiter that gets the lock when `releaseToWaiter` is called. */
  next?: WaiterRequest;
}

export const linkBroken = (): Error => new LockStoreError('The link broke.', { transient: true });
export const serverRefused = (): Error => new LockStoreError('The server refused.');

/**
 * A store that can delay, lose, repeat or refuse requests, as the test says. Its `server`
 * behaves like every real store.
 */
export class ScriptedStore implements LockStore, BatchRenewer, LockInspector, LockPauser {
  readonly server: MemoryLockStore;
  readonly calls: StoreCall[] = [];
  /** Gives the fate of each request for which `next` has set no fate. */
  fate: ((call: StoreCall) => Fate | undefined) | undefined;
  prepare?: () => Promise<void>;
  close?: () => Promise<void>;
  readonly #scripts: Record<Operation, Fate[]> = {
    acquire: [],
    renew: [],
    renewMany: [],
    release: [],
    releaseToWaiter: [],
  };

  constructor(readonly clock: ManualClock) {
    this.server = new MemoryLockStore({ now: clock.server });
  }

  /** Sets the fates of the next requests of this kind, one fate for each request. */
  next(operation: Operation, ...fates: Fate[]): void {
    this.#scripts[operation].push(...fates);
  }

  /**
   * From now on, every request of these kinds gets this fate; without kinds, every request.
   */
  always(fate: Fate, ...operations: Operation[]): void {
    this.fate = (call) => (operations.length === 0 || operations.includes(call.operation) ? fate : undefined);
  }

  /** From now on, requests for which `next` has set no fate are carried out normally. */
  heal(): void {
    this.fate = undefined;
  }

  count(operation: Operation): number {
    return this.of(operation).length;
  }

  of(operation: Operation): StoreCall[] {
    return this.calls.filter((call) => call.operation === operation);
  }

  acquire(key: string, owner: string, ttl: number, request?: AcquireRequest): Promise<LockAcquireResult> {
    const call = { operation: 'acquire' as const, at: this.clock.now(), key, owner, ttl };
    return this.carry({ ...call, ...limited(request) }, () => this.server.acquire(key, owner, ttl, request));
  }

  renew(key: string, owner: string, ttl: number, request?: StoreRequest): Promise<boolean> {
    const call = { operation: 'renew' as const, at: this.clock.now(), key, owner, ttl };
    return this.carry({ ...call, ...limited(request) }, () => this.server.renew(key, owner, ttl));
  }

  renewMany(renewals: readonly LeaseRenewal[], request?: StoreRequest): Promise<RenewalOutcome[]> {
    const call = { operation: 'renewMany' as const, at: this.clock.now(), key: '', owner: '', renewals };
    return this.carry({ ...call, ...limited(request) }, () => this.server.renewMany(renewals));
  }

  release(key: string, owner: string, request?: ReleaseRequest): Promise<boolean> {
    const call = { operation: 'release' as const, at: this.clock.now(), key, owner };
    return this.carry({ ...call, ...limited(request) }, () => this.server.release(key, owner, request));
  }

  inspect(key: string): Promise<LockInspection> {
    return this.server.inspect(key);
  }

  list(request: ListRequest): Promise<LockPage> {
    return this.server.list(request);
  }

  forceRelease(key: string): Promise<boolean> {
    return this.server.forceRelease(key);
  }

  pause(key: string): Promise<boolean> {
    return this.server.pause(key);
  }

  resume(key: string): Promise<boolean> {
    return this.server.resume(key);
  }

  purge(request: PurgeRequest): Promise<number> {
    return this.server.purge(request);
  }

  async held(key: string): Promise<boolean> {
    return (await this.server.inspect(key)).state === 'held';
  }

  /** Lets a worker of another process acquire the key. Resolves to the owner. */
  async takenBy(label: string, key: string, ttl = 30_000): Promise<string> {
    const owner = `${label}:owner`;
    const answer = await this.server.acquire(key, owner, ttl, { label });
    if (!answer.acquired) throw new Error(`${key} is held`);
    return owner;
  }

  protected carry<T>(call: StoreCall, carryOut: () => Promise<T>): Promise<T> {
    this.calls.push(call);
    const fate = this.#scripts[call.operation].shift() ?? this.fate?.(call) ?? {};
    return new Promise((resolve, reject) => {
      const answered = (answer: Promise<T>): void => {
        if (fate.hang === 'answer') return;
        this.#after(fate.after, () => (fate.lose === 'answer' ? reject(linkBroken()) : resolve(answer)));
      };
      if (fate.hang === 'request') return;
      this.#after(fate.before, () => {
        if (fate.lose === 'request') return reject(linkBroken());
        fate.arrived?.();
        if (fate.lateAfterBreak !== undefined) {
          this.#after(fate.lateAfterBreak, () => void carryOut());
          return reject(linkBroken());
        }
        if (fate.fail) return reject(fate.fail());
        if ('answer' in fate) return answered(Promise.resolve(fate.answer as T));
        if (fate.twiceAfter !== undefined) this.#after(fate.twiceAfter, () => void carryOut());
        answered(carryOut());
      });
    });
  }

  #after(ms: number | undefined, callback: () => void): void {
    if (ms === undefined) callback();
    else this.clock.outside(ms, callback);
  }
}

/** Splits the time limit from the rest of the request. */
function limited(request: AcquireRequest | ReleaseRequest = {}): Pick<StoreCall, 'request' | 'timeout'> {
  const { timeout, ...rest } = request;
  return { request: rest, timeout };
}

/** A store that can release a lock to a waiter in one request. */
export class WaiterReleaseStore extends ScriptedStore implements WaiterRelease {
  releaseToWaiter(
    key: string,
    owner: string,
    next: WaiterRequest,
    request?: Pick<ReleaseRequest, 'outcome' | 'timeout'>,
  ): Promise<LockAcquireResult> {
    const call = { operation: 'releaseToWaiter' as const, at: this.clock.now(), key, owner, next };
    return this.carry({ ...call, ...limited(request) }, () =>
      this.server.releaseToWaiter(key, owner, next, request),
    );
  }
}

/** A store that queues waiters and notifies them when the test calls `call`. */
export class NotifyingStore extends WaiterReleaseStore implements WakeUps {
  readonly notifiesWaiters = true;
  /**
   * Notifies this process of a release. Returns whether a waiter of the process wants the key.
   */
  call: (key?: string, othersPoll?: boolean) => boolean = () => false;

  onReleased(listener: (key?: string, othersPoll?: boolean) => boolean): void {
    this.call = listener;
  }

  override async acquire(
    key: string,
    owner: string,
    ttl: number,
    request?: AcquireRequest,
  ): Promise<LockAcquireResult> {
    const answer = await super.acquire(key, owner, ttl, request);
    return answer.acquired || !request?.waiting ? answer : { ...answer, queued: true };
  }
}
