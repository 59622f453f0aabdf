import type { LockInspection, LockOutcome, LockPage } from '../../interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  BatchRenewer,
  LeaseRenewal,
  ListRequest,
  LockAcquireResult,
  LockInspector,
  LockPauser,
  LockStore,
  PurgeRequest,
  ReleaseRequest,
  RenewalOutcome,
  StoreDescription,
  TickKeeper,
  WaiterRelease,
  WaiterRequest,
} from '../../interfaces/lock-store.interface.js';
import { storedKey } from '../../options/lock-key.js';
import { ignoredTick, refusalOf, tickAt } from '../shared/conditions.js';
import { inspectionOf, recordOf, sortedPage, type KeyState, type RunState } from '../shared/key-state.js';
import {
  leaseOf,
  leaseRequestOf,
  listRequestOf,
  purgeRequestOf,
  releaseOf,
  releaseToWaiterOf,
  type Identity,
  type LeaseRequest,
} from '../shared/requests.js';

/** A key and its lock, like a row of the lock table in the SQL stores. */
interface LockEntry extends Omit<KeyState, 'key' | 'now' | 'owned'> {
  /** `null` if the key has no holder, even while a release keeps it taken. */
  owner: string | null;
}

/**
 * A key that was never locked. A free key expires at 0 and not at the present time: otherwise,
 * a clock that steps back would make a released key busy.
 */
const UNUSED: LockEntry = {
  owner: null,
  label: null,
  token: 0,
  startedAt: 0,
  renewedAt: 0,
  expiresAt: 0,
  lastTick: null,
  paused: false,
};

/** Options of {@link MemoryLockStore}. @publicApi */
export interface MemoryLockStoreOptions {
  /**
   * A function that returns the time in epoch milliseconds. By default it starts at the
   * machine's clock and goes on monotonically, so that it never steps back.
   */
  now?: (() => number) | undefined;
  /**
   * The smallest number of free keys that the store remembers with their last run. It forgets
   * the oldest first. Default 10,000.
   */
  history?: number | undefined;
}

/**
 * Keeps locks in the memory of one process, with the semantics of the stores that keep them in
 * a database: for tests, and for applications that are a single process. When the process
 * ends, it forgets everything, including the ticks that have run.
 *
 * @publicApi
 */
export class MemoryLockStore
  implements LockStore, WaiterRelease, BatchRenewer, LockInspector, LockPauser, TickKeeper, StoreDescription
{
  /** The store keeps ticks while the process runs. */
  readonly keepsTicks = true;
  /** The keys, ordered by their last grant or release, oldest first. */
  private readonly entries = new Map<string, LockEntry>();
  private readonly now: () => number;
  private readonly history: number;
  private forgetAt: number;
  /**
   * The last token of all keys. Since all keys share this number, tokens grow even for a key
   * that was forgotten.
   */
  private lastToken = 0;

  constructor(options: MemoryLockStoreOptions = {}) {
    this.now = options.now ?? (() => performance.timeOrigin + performance.now());
    this.history = options.history ?? 10_000;
    this.forgetAt = this.history;
  }

  async acquire(
    key: string,
    owner: string,
    ttl: number,
    request: AcquireRequest = {},
  ): Promise<LockAcquireResult> {
    const wanted = leaseRequestOf(key, owner, ttl, request);
    const now = this.milliseconds();
    const entry = this.entries.get(wanted.key);
    if (entry && wanted.resend && entry.owner === wanted.owner) {
      Object.assign(entry, leaseFrom(now, wanted.ttl));
      return { acquired: true, fencingToken: entry.token };
    }
    const state = stateOf(wanted.key, entry ?? UNUSED, now);
    const refusal = refusalOf(wanted, state);
    if (refusal) return refusal;
    const ignored = ignoredTick(wanted, state);
    const fencingToken = this.grant(wanted, now, {
      lastRun: entry?.owner ? runOf(entry, Math.min(entry.expiresAt, now), 'failed') : entry?.lastRun,
      lastTick: tickAt(wanted, now) ?? entry?.lastTick ?? null,
    });
    return { acquired: true, fencingToken, ...(ignored !== undefined && { ignoredTick: new Date(ignored) }) };
  }

  async renew(key: string, owner: string, ttl: number): Promise<boolean> {
    return this.extend(leaseOf(key, owner, ttl));
  }

  async renewMany(leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    const all = leases.map(({ key, owner, ttl }) => leaseOf(key, owner, ttl));
    return all.map((lease) => (this.extend(lease) ? 'renewed' : 'lost'));
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const { keepFor, outcome, ...lease } = releaseOf(key, owner, end);
    const now = this.milliseconds();
    const entry = this.ownEntry(lease, now);
    if (!entry) return false;
    this.end(lease.key, entry, now, outcome, keepFor);
    return true;
  }

  async releaseToWaiter(
    key: string,
    owner: string,
    next: WaiterRequest,
    end: Pick<ReleaseRequest, 'outcome'> = {},
  ): Promise<LockAcquireResult> {
    const { nextOwner, outcome, ...lease } = releaseToWaiterOf(key, owner, next, end);
    const now = this.milliseconds();
    const entry = this.ownEntry(lease, now);
    if (!entry) return { acquired: false, reason: 'held' };
    if (entry.paused) return { acquired: false, reason: 'paused' };
    const fencingToken = this.grant({ ...lease, owner: nextOwner }, now, {
      lastRun: runOf(entry, now, outcome),
      lastTick: entry.lastTick,
    });
    return { acquired: true, fencingToken };
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = storedKey(key);
    const entry = this.entries.get(stored);
    return inspectionOf(stored, entry && stateOf(stored, entry, this.milliseconds()));
  }

  async list(request: ListRequest): Promise<LockPage> {
    const wanted = listRequestOf(request);
    const now = this.milliseconds();
    const held = [...this.entries].filter(([, { expiresAt }]) => expiresAt > now);
    const records = held.map(([key, entry]) => recordOf(stateOf(key, entry, now)));
    return sortedPage(records, wanted);
  }

  async forceRelease(key: string): Promise<boolean> {
    const stored = storedKey(key);
    const now = this.milliseconds();
    const entry = this.entries.get(stored);
    if (!entry || entry.expiresAt <= now) return false;
    this.end(stored, entry, now, 'failed');
    return true;
  }

  async purge(request: PurgeRequest): Promise<number> {
    const { prefix, olderThan } = purgeRequestOf(request);
    const before = this.milliseconds() - olderThan;
    const unused = [...this.entries].filter(
      ([key, entry]) => key.startsWith(prefix) && !entry.paused && lastUseOf(entry) <= before,
    );
    for (const [key] of unused) this.entries.delete(key);
    return unused.length;
  }

  async pause(key: string): Promise<boolean> {
    return this.setPaused(key, true);
  }

  async resume(key: string): Promise<boolean> {
    return this.setPaused(key, false);
  }

  describe(): string {
    return 'store=memory';
  }

  /** Grants the key and returns its fencing token. */
  private grant(
    { key, owner, ttl, label }: Pick<LeaseRequest, 'key' | 'owner' | 'ttl' | 'label'>,
    now: number,
    history: Pick<LockEntry, 'lastRun' | 'lastTick'>,
  ): number {
    const token = this.nextToken();
    const lease = { startedAt: now, ...leaseFrom(now, ttl) };
    this.put(key, { owner, label, token, ...lease, ...history, paused: false });
    return token;
  }

  private end(key: string, entry: LockEntry, now: number, outcome: LockOutcome, keepFor = 0): void {
    // If the key has no owner, a release has ended the run before, and only keeps the key
    // taken.
    const lastRun = entry.owner ? runOf(entry, now, outcome) : entry.lastRun;
    const { expiresAt } = keepFor === 0 ? UNUSED : leaseFrom(now, keepFor);
    this.put(key, { ...entry, owner: null, expiresAt, lastRun });
  }

  private extend({ ttl, ...lease }: LeaseRenewal): boolean {
    const now = this.milliseconds();
    const entry = this.ownEntry(lease, now);
    if (entry) Object.assign(entry, leaseFrom(now, ttl));
    return entry !== undefined;
  }

  private setPaused(key: string, paused: boolean): boolean {
    const stored = storedKey(key);
    const entry = this.entries.get(stored) ?? UNUSED;
    if (entry.paused === paused) return false;
    this.put(stored, { ...entry, token: entry.token || this.nextToken(), paused });
    return true;
  }

  private ownEntry({ key, owner }: Identity, now: number): LockEntry | undefined {
    const entry = this.entries.get(key);
    return entry?.owner === owner && entry.expiresAt > now ? entry : undefined;
  }

  private milliseconds(): number {
    return Math.floor(this.now());
  }

  private nextToken(): number {
    this.lastToken = Math.max(this.lastToken + 1, Math.floor(this.now() * 1000));
    return this.lastToken;
  }

  private put(stored: string, entry: LockEntry): void {
    this.entries.delete(stored); // so that set() adds the key at the end
    this.entries.set(stored, entry);
    if (this.entries.size > this.forgetAt) this.forget();
  }

  /**
   * Forgets old free keys, since keys that contain ids would pile up for ever. Since this
   * reads every entry, it runs only after each `history` new keys.
   */
  private forget(): void {
    const now = this.milliseconds();
    const free = [...this.entries].filter(([, entry]) => entry.expiresAt <= now && !entry.paused);
    for (const [key] of free.slice(0, Math.max(0, free.length - this.history))) this.entries.delete(key);
    this.forgetAt = this.entries.size + this.history;
  }
}

function stateOf(key: string, { owner, ...entry }: LockEntry, now: number): KeyState {
  return { ...entry, key, owned: owner !== null, now };
}

/**
 * The time at which the key was last used. A taken key counts as used until it expires, so its
 * time lies in the future.
 */
function lastUseOf({ renewedAt, expiresAt, lastRun, lastTick }: LockEntry): number {
  return Math.max(renewedAt, expiresAt, lastRun?.endedAt ?? 0, lastTick ?? 0);
}

function runOf({ label, startedAt }: LockEntry, endedAt: number, outcome: LockOutcome): RunState {
  return { label, startedAt, endedAt, outcome };
}

function leaseFrom(now: number, ttl: number): Pick<LockEntry, 'renewedAt' | 'expiresAt'> {
  // The end is rounded up, since a lease must not end earlier than its holder expects.
  return { renewedAt: now, expiresAt: Math.min(Math.ceil(now + ttl), Number.MAX_SAFE_INTEGER) };
}
