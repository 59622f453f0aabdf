import { strict as assert } from 'node:assert';
import type { LockAcquireResult } from '../../interfaces/lock-store.interface.js';
import {
  assertGrowing,
  assertRecord,
  LEASE,
  show,
  type Attempt,
  type ConformanceTrial,
  type Grant,
} from './conformance-trial.js';

/**
 * Labels that a database could cut, or read as NULL, if a store sends them in a list of
 * values.
 */
const LABELS = ['', 'NULL', 'null', '{a,"b"}', '\\', "'", '"', 'ä 🔒', '[object Object]', ' a, b '];

/**
 * Milliseconds for each request. The limit is long, since a store may send the requests one by
 * one.
 */
export const timeout = 60_000;

/** One of many requests that are sent at the same time. */
interface Request extends Attempt {
  key: string;
  owner: string;
}

/** Checks the result of a request. */
type Judge = (result: LockAcquireResult) => void | Promise<void>;

/** Requests that are sent at the same time. Each has a function that judges its result. */
export class Rush {
  readonly #requests: { request: Request; judge: Judge }[] = [];
  /** Further requests, which check their own results or whose results do not matter. */
  readonly #beside: (() => Promise<void>)[] = [];

  constructor(private readonly t: ConformanceTrial) {}

  add(request: Request, judge: Judge): void {
    this.#requests.push({ request, judge });
  }

  /** Adds a request that must be granted to its own owner. */
  addGranted(attempt: Attempt & { key: string }, before?: number): void {
    const { key, owner = this.t.owner() } = attempt;
    this.add({ ...attempt, owner }, async (result) => {
      assert.ok(result.acquired, `${show(key)} is free, but it was refused: ${show(result)}`);
      assertGrowing(before === undefined ? [result.fencingToken] : [before, result.fencingToken]);
      const expected = {
        fencingToken: result.fencingToken,
        ...(attempt.label !== undefined && { label: attempt.label }),
      };
      assertRecord(await this.t.refusal(key), expected, `the lock of another key was shown for ${show(key)}`);
      assert.equal(
        await this.t.store.renew(key, owner, LEASE),
        true,
        `${show(key)} was granted to another owner`,
      );
    });
  }

  /** Adds a request that must be refused. */
  addRefused(
    attempt: Attempt & { key: string },
    reason: 'held' | 'paused' | 'tick-done',
    holder?: Grant & { label: string | null },
  ): void {
    const { key, owner = this.t.owner() } = attempt;
    this.add({ ...attempt, owner }, async (result) => {
      assert.ok(!result.acquired, `${show(key)} must be refused as ${reason}, but it was granted`);
      assert.equal(
        result.reason ?? 'held',
        reason,
        `${show(key)} must be refused as ${reason}, not for another reason`,
      );
      if (!holder || !this.t.settings.holder) return;
      assertRecord(result.holder, { key, fencingToken: holder.token, label: holder.label });
      assert.equal(await this.t.store.renew(key, holder.owner, LEASE), true);
    });
  }

  /** Adds a malformed request, which must fail without effect on the other requests. */
  addMalformed(malformed: Partial<Request>): void {
    const { key = this.t.key(), owner = this.t.owner(), ttl = LEASE } = malformed;
    this.#beside.push(async () => {
      await assert.rejects(async () => this.t.store.acquire(key, owner, ttl));
    });
  }

  /** Adds a request whose time limit will probably pass. It may be granted, or fail. */
  addHasty(key: string): void {
    this.#beside.push(async () => {
      await Promise.allSettled([this.t.store.acquire(key, this.t.owner(), LEASE, { timeout: 1 })]);
    });
  }

  /** Adds requests for new, released and held keys, in equal parts. */
  async addSome(count: number): Promise<void> {
    const { t } = this;
    for (let i = 0; i < count; i += 4) {
      const label = LABELS[i % LABELS.length] ?? '';
      this.addGranted({ key: t.key('new'), label });
      this.addGranted({ key: t.key('new'), ttl: Number.MAX_SAFE_INTEGER });
      const free = await t.take(t.key('free'));
      await t.store.release(free.key, free.owner);
      this.addGranted({ key: free.key, label }, free.token);
      const held = await t.take(t.key('held'), { label });
      this.addRefused({ key: held.key }, 'held', { ...held, label });
    }
  }

  /**
   * Sends all requests at the same time in a mixed order, and judges the results once all have
   * arrived.
   */
  async run(): Promise<void> {
    const requests = mixed(this.#requests);
    const [results] = await Promise.all([
      each(requests, async ({ request, judge }) => {
        const result = await this.t.attempt(request.key, { ...request, timeout });
        return () => judge(result);
      }),
      each(this.#beside, (request) => request()),
    ]);
    await each(results, async (judge) => judge());
  }
}

/**
 * Does the work for all items at the same time. It throws the first failure only after all
 * work has ended.
 */
export async function each<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const runs = items.map(async (item) => work(item));
  await Promise.allSettled(runs);
  return Promise.all(runs);
}

/** Returns the items in a mixed order, which is the same in each run. */
export function mixed<T>(items: readonly T[]): T[] {
  const places = items.map((item, i) => ({ item, place: (i * 7919) % 1009 }));
  return places.toSorted((a, b) => a.place - b.place).map(({ item }) => item);
}
