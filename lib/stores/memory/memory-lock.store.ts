import type { LockInspection, LockPage } from '../../interfaces/lock-record.interface.js';
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
  StoreDescription,
  WaiterRequest,
  TickKeeper,
} from '../../interfaces/lock-store.interface.js';
import { assertKey, assertOwner, fitKey, storedKey } from '../../options/lock-key.js';
import { assertSuccessor } from '../shared/lease-arguments.js';
import { assertOutcome, assertPage, milliseconds, purgeOf } from '../shared/store-arguments.js';
import { ignoredTick, refusalReason, conditionsOf, tickAt } from '../shared/conditions.js';
import {
  expiry,
  FREE,
  inspectionOf,
  lastUseOf,
  recordOf,
  runOf,
  stateOf,
  UNUSED,
  type LockEntry,
} from './lock-entry.js';

/** How a {@link MemoryLockStore} keeps time and how much it remembers. @publicApi */
export interface MemoryLockStoreOptions {
  /** The clock, in epoch milliseconds. Default: the machine's at start, going on monotonically, so that it never steps back. */
  now?: (() => number) | undefined;
  /** How many free keys are remembered with their last run, at least; the oldest are forgotten first. Default 10,000. */
  history?: number | undefined;
}

/**
 * Keeps locks in the memory of one process, with the semantics of the stores that keep them in a database: for tests, and for applications
 * that are a single process. What must outlive the process, as that a tick has run, is not what it is for.
 *
 * @publicApi
 */
export class MemoryLockStore
  implements LockStore, WaiterRelease, BatchRenewer, LockInspector, LockPauser, TickKeeper, StoreDescription
{
  /** It keeps them while the process runs. */
  readonly keepsTicks = true;
  /** In the order of their last grant or end, oldest first. */
  private readonly entries = new Map<string, LockEntry>();
  private readonly now: () => number;
  private readonly history: number;
  private forgetAt: number;
  /** One for all keys, so that the tokens of a forgotten key still grow. */
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
    assertLease(key, owner, ttl);
    const terms = conditionsOf(request);
    const stored = fitKey(key);
    const now = this.milliseconds();
    const entry = this.entries.get(stored);

    if (entry && request.resend && entry.owner === owner) {
      lease(entry, now, ttl);
      return { acquired: true, fencingToken: entry.token };
    }
    const state = stateOf(entry ?? UNUSED, now);
    const reason = refusalReason(terms, state);
    if (reason !== undefined)
      return reason === 'held' && entry
        ? { acquired: false, reason, holder: recordOf(stored, entry, now) }
        : { acquired: false, reason };

    const granted: LockEntry = {
      owner,
      label: request.label ?? null,
      token: this.nextToken(),
      startedAt: now,
      renewedAt: now,
      expiresAt: expiry(now, ttl),
      lastRun: entry?.owner ? runOf(entry, Math.min(entry.expiresAt, now), 'failed') : entry?.lastRun,
      lastTick: tickAt(terms, now) ?? entry?.lastTick ?? null,
      paused: false,
    };
    this.put(stored, granted);
    const ignored = ignoredTick(terms, state);
    const fencingToken = granted.token;
    return { acquired: true, fencingToken, ...(ignored !== undefined && { ignoredTick: new Date(ignored) }) };
  }

  async renew(key: string, owner: string, ttl: number): Promise<boolean> {
    assertLease(key, owner, ttl);
    return this.extend(key, owner, ttl);
  }

  async renewMany(leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    for (const { key, owner, ttl } of leases) assertLease(key, owner, ttl);
    return leases.map(({ key, owner, ttl }) => (this.extend(key, owner, ttl) ? 'renewed' : 'lost'));
  }

  async release(key: string, owner: string, end: ReleaseRequest = {}): Promise<boolean> {
    const stored = fitKey(key);
    assertOwner(owner);
    const { keepFor = 0, outcome = 'done' } = end;
    if (keepFor !== 0) milliseconds('keepFor', keepFor);

    const now = this.milliseconds();
    const entry = this.ownLease(stored, owner, now);
    if (!entry) return false;
    this.put(stored, {
      ...entry,
      owner: null,
      expiresAt: keepFor === 0 ? FREE : expiry(now, keepFor),
      lastRun: runOf(entry, now, outcome),
    });
    return true;
  }

  async releaseToWaiter(
    key: string,
    owner: string,
    next: WaiterRequest,
    { outcome = 'done' }: Pick<ReleaseRequest, 'outcome'> = {},
  ): Promise<LockAcquireResult> {
    const stored = fitKey(key);
    assertOwner(owner);
    assertLease(key, next.owner, next.ttl);
    assertSuccessor(owner, next);
    assertOutcome(outcome);

    const now = this.milliseconds();
    const entry = this.ownLease(stored, owner, now);
    if (!entry) return { acquired: false, reason: 'held' };
    if (entry.paused) return { acquired: false, reason: 'paused' };
    const passed: LockEntry = {
      ...entry,
      owner: next.owner,
      label: next.label ?? null,
      token: this.nextToken(),
      startedAt: now,
      renewedAt: now,
      expiresAt: expiry(now, next.ttl),
      lastRun: runOf(entry, now, outcome),
    };
    this.put(stored, passed);
    return { acquired: true, fencingToken: passed.token };
  }

  async inspect(key: string): Promise<LockInspection> {
    const stored = storedKey(key);
    return inspectionOf(stored, this.entries.get(stored), this.milliseconds());
  }

  async list({ prefix = '', limit, after = '' }: ListRequest): Promise<LockPage> {
    assertPage({ prefix, limit, after });
    const now = this.milliseconds();
    const found = [...this.entries]
      .filter(
        ([key, entry]) => entry.expiresAt > now && key.startsWith(prefix) && compareKeys(key, after) > 0,
      )
      .toSorted(([a], [b]) => compareKeys(a, b));
    const locks = found.slice(0, limit).map(([key, entry]) => recordOf(key, entry, now));
    return found.length > limit ? { locks, next: locks.at(-1)?.key } : { locks };
  }

  async forceRelease(key: string): Promise<boolean> {
    const stored = storedKey(key);
    const now = this.milliseconds();
    const entry = this.entries.get(stored);
    if (!entry || entry.expiresAt <= now) return false;
    // A key that is merely kept has no holder whose run could fail.
    const lastRun = entry.owner ? runOf(entry, now, 'failed') : entry.lastRun;
    this.put(stored, { ...entry, owner: null, expiresAt: FREE, lastRun });
    return true;
  }

  async purge(request: PurgeRequest): Promise<number> {
    const { prefix, olderThan } = purgeOf(request);
    const before = this.milliseconds() - olderThan;
    const unused = [...this.entries].filter(
      ([key, entry]) => key.startsWith(prefix) && !entry.paused && lastUseOf(entry) <= before,
    );
    for (const [key] of unused) this.entries.delete(key);
    return unused.length;
  }

  async pause(key: string): Promise<boolean> {
    const stored = storedKey(key);
    const entry = this.entries.get(stored);
    if (entry?.paused) return false;
    this.put(stored, { ...(entry ?? { ...UNUSED, token: this.nextToken() }), paused: true });
    return true;
  }

  async resume(key: string): Promise<boolean> {
    const stored = storedKey(key);
    const entry = this.entries.get(stored);
    if (!entry?.paused) return false;
    this.put(stored, { ...entry, paused: false });
    return true;
  }

  describe(): string {
    return 'store=memory';
  }

  private extend(key: string, owner: string, ttl: number): boolean {
    const now = this.milliseconds();
    const entry = this.ownLease(fitKey(key), owner, now);
    if (entry) lease(entry, now, ttl);
    return entry !== undefined;
  }

  private ownLease(stored: string, owner: string, now: number): LockEntry | undefined {
    const entry = this.entries.get(stored);
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
    this.entries.delete(stored); // moves it to the end of the map
    this.entries.set(stored, entry);
    if (this.entries.size > this.forgetAt) this.forget();
  }

  /** Keys made from ids would pile up for ever. It looks at every entry, and so runs only once in `history` new keys. */
  private forget(): void {
    const now = this.milliseconds();
    const free = [...this.entries].filter(([, entry]) => entry.expiresAt <= now && !entry.paused);
    for (const [key] of free.slice(0, Math.max(0, free.length - this.history))) this.entries.delete(key);
    this.forgetAt = this.entries.size + this.history;
  }
}

function assertLease(key: unknown, owner: unknown, ttl: unknown): void {
  assertKey(key);
  assertOwner(owner);
  milliseconds('ttl', ttl);
}

function lease(entry: LockEntry, now: number, ttl: number): void {
  entry.renewedAt = now;
  entry.expiresAt = expiry(now, ttl);
}

/** The order of bytes in UTF-8, as in the databases; JavaScript's own compares halves of characters. */
function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
