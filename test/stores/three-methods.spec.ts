import { describe, expect, it } from '@jest/globals';
import { LockError } from '../../lib/index.js';
import {
  assertKey,
  assertOwner,
  type LockAcquireResult,
  type LockStore,
} from '../../lib/interfaces/index.js';
import { lockStoreConformance, type ConformanceOptions } from '../../lib/testing/index.js';

const LONGEST = Number.MAX_SAFE_INTEGER;

/**
 * A store with only the three methods of `@nestjs/locks`. It ignores the options of an
 * acquisition, and does not show holders.
 */
class ThreeMethods implements LockStore {
  readonly #leases = new Map<string, { owner: string; until: number }>();
  #token = 0;

  /** @param refusal what `acquire()` returns for a held key */
  constructor(private readonly refusal: LockAcquireResult) {}

  async acquire(key: string, owner: string, ttl: number): Promise<LockAcquireResult> {
    assertArguments(key, owner, ttl);
    if (this.#leaseOf(key)) return this.refusal;
    this.#leases.set(key, { owner, until: endOf(ttl) });
    return { acquired: true, fencingToken: ++this.#token };
  }

  async renew(key: string, owner: string, ttl: number): Promise<boolean> {
    assertArguments(key, owner, ttl);
    const lease = this.#leaseOf(key);
    if (lease?.owner !== owner) return false;
    lease.until = endOf(ttl);
    return true;
  }

  async release(key: string, owner: string): Promise<boolean> {
    assertArguments(key, owner, 1);
    return this.#leaseOf(key)?.owner === owner && this.#leases.delete(key);
  }

  #leaseOf(key: string): { owner: string; until: number } | undefined {
    const lease = this.#leases.get(key);
    return lease && lease.until > performance.now() ? lease : undefined;
  }
}

function endOf(ttl: number): number {
  return ttl === LONGEST ? Infinity : performance.now() + ttl;
}

function assertArguments(key: unknown, owner: unknown, ttl: unknown): void {
  assertKey(key);
  assertOwner(owner);
  if (typeof ttl !== 'number' || !(ttl > 0 && ttl <= LONGEST))
    throw new LockError('The ttl must be a positive number of milliseconds.');
}

const OPTIONAL = [
  'inspect',
  'renewMany',
  'releaseToWaiter',
  'pause',
  'once',
  'stealAfter',
  'holder',
  'resend',
  'keepFor',
] as const;

const examine = (refusal: LockAcquireResult, options: ConformanceOptions) => {
  const shared = new ThreeMethods(refusal);
  return lockStoreConformance(() => shared, { rounds: 2, ...options });
};

describe.each<[string, LockAcquireResult]>([
  ['acquired: false alone', { acquired: false }],
  ['a reason', { acquired: false, reason: 'held' }],
])('E11 a store of three methods that refuses a held key with %s', (_, refusal) => {
  for (const { name, run } of examine(refusal, { without: [...OPTIONAL] })) it(name, run);
});

const inAnyCase = new Set(examine({ acquired: false }, { without: [...OPTIONAL] }).map(({ name }) => name));

it.each(OPTIONAL)(
  'E11 if the entry %s is missing in `without`, the suite fails, and each error names the entry',
  async (part) => {
    const without = OPTIONAL.filter((one) => one !== part);
    const cases = examine({ acquired: false }, { without, patience: 100 });
    const ofPart = part === 'holder' ? cases.slice(0, 5) : cases.filter(({ name }) => !inAnyCase.has(name));
    const failures: string[] = [];
    for (const { run } of ofPart) await run().catch((error: Error) => failures.push(error.message));
    expect(failures).not.toEqual([]);
    for (const failure of failures) expect(failure).toContain(`without: ["${part}"]`);
  },
);
