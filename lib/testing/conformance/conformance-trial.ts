import { strict as assert } from 'node:assert';
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { LockInspection, LockRecord, LockRun } from '../../interfaces/lock-record.interface.js';
import type {
  AcquireRequest,
  BatchRenewer,
  LockAcquireResult,
  LockInspector,
  WaiterRelease,
  LockPauser,
  LockStore,
  RefusalReason,
} from '../../interfaces/lock-store.interface.js';

/** A lease that outlives every case, in milliseconds. */
export const LEASE = 30_000;
export const NEVER = Number.MAX_SAFE_INTEGER;

/** Milliseconds that may pass between a grant and the check of its remaining time. */
const SLOWNESS = 10_000;
const POLL = 5;
/**
 * The service repeats an attempt this many times after collisions before it reports the lock
 * as busy.
 */
const COLLISIONS = 3;

/** The cases of one topic. The name of a property is the title of a case. */
export type Cases = Record<string, (t: ConformanceTrial) => Promise<void>>;

export interface TrialSettings {
  instances: number;
  racers: number;
  rounds: number;
  ttl: number;
  patience: number;
  /** Whether refusals have to show the holder. */
  holder: boolean;
}

export interface Attempt extends AcquireRequest {
  store?: LockStore;
  owner?: string;
  ttl?: number;
}

export interface Grant {
  key: string;
  owner: string;
  token: number;
}

/**
 * One run of a case, with its store, other instances on the same database, and its own keys
 * and owners.
 */
export class ConformanceTrial {
  private others: LockStore[] = [];

  constructor(
    readonly store: LockStore,
    readonly settings: TrialSettings,
    /** Opens another instance on the same database, which is closed when the case ends. */
    readonly open: () => Promise<LockStore>,
  ) {}

  /** A key that was never used. */
  key(name = 'key'): string {
    return `conformance:${randomBytes(8).toString('hex')}:${name}`;
  }

  owner(): string {
    return randomUUID();
  }

  async instances(): Promise<[LockStore, ...LockStore[]]> {
    while (this.others.length < this.settings.instances - 1) this.others.push(await this.open());
    return [this.store, ...this.others];
  }

  /**
   * Makes one attempt, like the service with `wait: 0`. After a collision it repeats the
   * attempt at once, a few times.
   */
  async attempt(key: string, attempt: Attempt = {}): Promise<LockAcquireResult> {
    const { store = this.store, owner = this.owner(), ttl = LEASE, ...request } = attempt;
    for (let collisions = 0; ; collisions++) {
      const result = await store.acquire(key, owner, ttl, request);
      if (result.acquired || result.reason !== 'contention' || collisions === COLLISIONS) return result;
    }
  }

  /** Takes a key that must be free. */
  async take(key: string, attempt: Attempt = {}): Promise<Grant> {
    const owner = attempt.owner ?? this.owner();
    const result = await this.attempt(key, { ...attempt, owner });
    assert.ok(result.acquired, `${show(key)} is free, but it was refused: ${show(result)}`);
    return { key, owner, token: result.fencingToken };
  }

  /** Takes a key as soon as it is free. */
  async takeWhenFree(key: string, attempt: Attempt = {}): Promise<Grant> {
    const owner = attempt.owner ?? this.owner();
    const deadline = performance.now() + this.settings.ttl + this.settings.patience;
    for (;;) {
      const result = await this.attempt(key, { ...attempt, owner });
      if (result.acquired) return { key, owner, token: result.fencingToken };
      assert.ok(performance.now() < deadline, `${show(key)} did not become free in time: ${show(result)}`);
      await pause(POLL);
    }
  }

  /**
   * Tries a key that must be held, and returns the holder that the refusal shows. Returns
   * `undefined` if the suite runs without the part `holder`.
   */
  async refusal(key: string, attempt: Attempt = {}): Promise<LockRecord | undefined> {
    const result = await this.attempt(key, attempt);
    assert.ok(!result.acquired, `${show(key)} is held, but it was granted again`);
    assert.notEqual(
      result.reason,
      'contention',
      `${show(key)} was refused as contended, although no other owner tries it`,
    );
    if (!this.settings.holder) return undefined;
    assert.ok(
      result.holder,
      `the refusal of ${show(key)} does not show the holder; if the store need not show it, leave these checks out: { without: ["holder"] }`,
    );
    return result.holder;
  }

  /** Checks that an attempt is refused for this reason. */
  async refused(key: string, reason: RefusalReason, attempt: Attempt = {}): Promise<void> {
    const result = await this.attempt(key, attempt);
    assert.ok(!result.acquired, `${show(key)} must be refused as ${reason}, but it was granted`);
    assert.equal(result.reason, reason, `${show(key)} must be refused as ${reason}, not for another reason`);
  }

  /**
   * Waits until all short leases that were granted before have expired: it takes a lease of
   * the same length, and waits for the end of this later lease.
   */
  async shortLeasesRanOut(ttl = this.settings.ttl): Promise<void> {
    const { key } = await this.take(this.key('witness'), { ttl });
    await this.takeWhenFree(key);
  }

  /** Makes a lease and waits until it has expired. No other owner has taken its key. */
  async expired(attempt: Attempt = {}): Promise<Grant> {
    const grant = await this.take(this.key('expired'), { ...attempt, ttl: this.settings.ttl });
    await this.shortLeasesRanOut();
    return grant;
  }

  /**
   * Lets all racers try the key at the same time, in all instances, and returns the winners.
   */
  async race(key: string, attempt: Omit<Attempt, 'store' | 'owner'> = {}): Promise<Grant[]> {
    const stores = await this.instances();
    const grants = await together(this.settings.racers, async (racer) => {
      const owner = this.owner();
      const result = await this.attempt(key, { ...attempt, store: pick(stores, racer), owner });
      return result.acquired ? [{ key, owner, token: result.fencingToken }] : [];
    });
    return grants.flat();
  }

  get inspector(): LockInspector {
    const { store } = this;
    assert.ok(
      has<LockInspector>(store, 'inspect', 'list', 'forceRelease', 'purge'),
      'the store does not implement LockInspector; if it need not, leave these cases out: { without: ["inspect"] }',
    );
    return store;
  }

  get pauser(): LockPauser {
    const { store } = this;
    assert.ok(
      has<LockPauser>(store, 'pause', 'resume'),
      'the store does not implement LockPauser; if it need not, leave these cases out: { without: ["pause"] }',
    );
    return store;
  }

  waiterReleaseOf(store: LockStore): WaiterRelease {
    assert.ok(
      has<WaiterRelease>(store, 'releaseToWaiter'),
      'the store does not implement WaiterRelease; if it need not, leave these cases out: { without: ["releaseToWaiter"] }',
    );
    return store;
  }

  get batchRenewer(): BatchRenewer {
    const { store } = this;
    assert.ok(
      has<BatchRenewer>(store, 'renewMany'),
      'the store does not implement BatchRenewer; if it need not, leave these cases out: { without: ["renewMany"] }',
    );
    return store;
  }
}

/**
 * Runs the work `count` times at the same time. It throws the first failure only after all
 * runs have ended, so that no run outlives the case.
 */
export async function together<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const runs = Array.from({ length: count }, (_, index) => work(index));
  await Promise.allSettled(runs);
  return Promise.all(runs);
}

export function pick(stores: readonly [LockStore, ...LockStore[]], index: number): LockStore {
  return stores[index % stores.length] ?? stores[0];
}

/** Shows everything in a value, including properties that a logger would not print. */
export function show(value: unknown): string {
  return inspect(value, { depth: null, showHidden: true, maxArrayLength: null, maxStringLength: null });
}

export function assertGrowing(tokens: readonly number[]): void {
  tokens.forEach((token, index) => {
    const before = tokens[index - 1] ?? 0;
    assert.ok(token > before, `token ${token} was granted after ${before}: tokens must grow`);
  });
}

/** Checks the holder that a refusal shows, if it shows a holder. */
export function assertRecord(
  holder: LockRecord | undefined,
  expected: Partial<LockRecord>,
  message?: string,
): void {
  if (!holder) return;
  for (const [name, value] of Object.entries(expected))
    assert.deepEqual(Reflect.get(holder, name), value, message ?? `the shown holder has a wrong ${name}`);
}

/**
 * Checks that the lease ends about `ttl` after it was granted or renewed. Less time may
 * remain, since servers may be slow, but not more time.
 */
export function assertTimeLeft(holder: LockRecord | undefined, ttl: number): void {
  if (!holder) return;
  const left = holder.remaining;
  assert.ok(
    left > ttl - SLOWNESS && left <= ttl,
    `a lease of ${ttl} ms that has just begun shows ${left} ms as remaining`,
  );
  assert.ok(holder.expiresAt instanceof Date, 'the shown holder has no expiresAt');
  const length = holder.expiresAt.getTime() - holder.renewedAt.getTime();
  assert.ok(
    Math.abs(length - ttl) < 1000,
    `expiresAt is ${length} ms after renewedAt, but the ttl is ${ttl}`,
  );
}

export function lastRunOf(found: LockInspection): LockRun {
  assert.ok(found.lastRun, `the inspection shows no last run: ${show(found)}`);
  return found.lastRun;
}

/** Returns the winner of a race, and checks that there is exactly one. */
export function onlyOne(winners: Grant[]): Grant {
  const [winner, ...others] = winners;
  assert.ok(winner, 'the key is free, but no racer got it');
  assert.deepEqual(others, [], 'more than one racer got the key');
  return winner;
}

function has<T>(store: LockStore, ...methods: (keyof T & string)[]): store is LockStore & T {
  return methods.every((method) => typeof Reflect.get(store, method) === 'function');
}
