import { strict as assert } from 'node:assert';
import type { LockAcquireResult, LockStore, ReleaseRequest } from '../../interfaces/lock-store.interface.js';
import { MAX_KEY_BYTES } from '../../options/lock-key.js';
import {
  assertGrowing,
  assertRecord,
  LEASE,
  show,
  together,
  type Attempt,
  type Cases,
  type ConformanceTrial,
  type Grant,
} from './conformance-trial.js';

/** Labels that could end early, or mean nothing, in a list of values. */
const LABELS = ['', 'NULL', 'null', '{a,"b"}', '\\', "'", '"', 'ä 🔒', '[object Object]', ' a, b '];

/**
 * Milliseconds for each request: a store that sends them one by one needs longer than for a
 * single one.
 */
const timeout = 60_000;

/** One of many requests that are sent at the same time. */
interface Request extends Attempt {
  key: string;
  owner: string;
}

/** How a test judges the result of its request. */
type Judge = (result: LockAcquireResult) => void | Promise<void>;

/**
 * Requests for different keys that are sent at the same time may share statements. Each gets
 * the result that it would get alone.
 */
export const batches: Cases = {
  async 'B93 of 200 acquisitions at once each gets the result for its own key'(t) {
    const rush = new Rush(t);
    await rush.addSome(100);
    const twins = Array.from({ length: 10 }, () => t.key('twins'));
    const winners = new Map<string, Grant[]>(twins.map((key) => [key, []]));
    for (const key of [...twins, ...twins, ...twins]) {
      const owner = t.owner();
      rush.add({ key, owner }, (result) => {
        if (result.acquired) winners.get(key)?.push({ key, owner, token: result.fencingToken });
      });
    }
    for (const key of ['', 'a\0', 'x'.repeat(MAX_KEY_BYTES + 1)]) rush.addMalformed({ key });
    rush.addMalformed({ ttl: 0 });
    rush.addMalformed({ owner: '' });
    await rush.run();
    for (const [key, won] of winners) {
      assert.equal(won.length, 1, `${won.length} of three requests got ${show(key)}`);
      for (const { owner } of won) assert.equal(await t.store.renew(key, owner, LEASE), true);
    }
  },

  async 'B93 a request that runs out of time among many ends alone'(t) {
    const rush = new Rush(t);
    await rush.addSome(40);
    for (let i = 0; i < 5; i++) rush.addHasty(t.key('hasty'));
    await rush.run();
  },

  async 'B93 of 200 releases at once each ends its own lock only'(t) {
    const expired = await together(10, () => t.take(t.key('expired'), { ttl: t.settings.ttl, timeout }));
    const held = await together(100, () => t.take(t.key('held'), { timeout }));
    const foreign = await together(40, () => t.take(t.key('foreign'), { timeout }));
    const twice = await together(15, () => t.take(t.key('twice'), { timeout }));
    await t.shortLeasesRanOut();
    const requests = mixed([
      ...held.map((grant) => ({ ...grant, released: true })),
      ...foreign.map(({ key }) => ({ key, owner: t.owner(), released: false })),
      ...expired.map((grant) => ({ ...grant, released: false })),
      ...Array.from({ length: 20 }, () => ({ key: t.key('new'), owner: t.owner(), released: false })),
    ]);
    const [doubled] = await Promise.all([
      each([...twice, ...twice], async ({ key, owner }) =>
        (await t.store.release(key, owner, { timeout })) ? [key] : [],
      ),
      each(requests, async ({ key, owner, released }) => {
        const result = await t.store.release(key, owner, { timeout });
        assert.equal(result, released, `the release of ${show(key)} gave ${result}`);
      }),
    ]);
    assert.deepEqual(doubled.flat().toSorted(), twice.map(({ key }) => key).toSorted());
    for (const { key, owner, token } of foreign) {
      assertRecord(await t.refusal(key), { fencingToken: token });
      assert.equal(await t.store.renew(key, owner, LEASE), true);
    }
    await each([...held, ...twice, ...expired], async ({ key, token }) => {
      assertGrowing([token, (await t.take(key, { timeout })).token]);
    });
  },

  async 'B93 many keys that are taken and released over and over at once stay apart'(t) {
    const rounds = Math.min(3, t.settings.rounds);
    await together(40, async () => {
      const key = t.key();
      const tokens: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const { owner, token } = await t.take(key, { timeout });
        assert.equal(await t.store.renew(key, owner, LEASE), true, `${show(key)} was lost`);
        await releases(t.store, { key, owner, token });
        tokens.push(token);
      }
      assertGrowing(tokens);
    });
  },

  async 'B93 of two instances that want the same 300 keys in opposite orders one gets each key'(t) {
    const other = await t.open();
    const keys = Array.from({ length: 300 }, () => t.key());
    for (const round of ['new keys', 'released keys']) {
      const [ours, theirs] = await Promise.all([
        takeEach(t, t.store, keys),
        takeEach(t, other, keys.toReversed()),
      ]);
      const grants = [...ours, ...theirs];
      assert.deepEqual(grants.map(({ key }) => key).toSorted(), keys.toSorted(), round);
      await each(ours, (grant) => releases(t.store, grant));
      await each(theirs, (grant) => releases(other, grant));
    }
  },
};

export const batchesResent: Cases = {
  async 'B93 a request that is sent again among many gets its lock again, with the same token'(t) {
    const rush = new Rush(t);
    await rush.addSome(20);
    for (const grant of await together(10, () => t.take(t.key('resent'))))
      rush.add({ ...grant, resend: true }, (result) => {
        assert.equal(result.acquired && result.fencingToken, grant.token);
      });
    await rush.run();
  },
};

export const batchesKept: Cases = {
  async 'B93 a release that keeps its key among many others keeps that key alone'(t) {
    const kept = await together(10, () => t.take(t.key('kept')));
    const free = await together(30, () => t.take(t.key('free')));
    const ends = mixed([
      ...kept.map((grant) => ({ grant, end: { keepFor: LEASE } })),
      ...free.map((grant) => ({ grant, end: {} })),
    ]);
    await each(ends, ({ grant, end }) => releases(t.store, grant, end));
    const rush = new Rush(t);
    for (const { key } of kept) rush.addRefused({ key }, 'held');
    for (const { key, token } of free) rush.addGranted({ key }, token);
    await rush.run();
  },
};

export const batchesPaused: Cases = {
  async 'B93 paused keys among many requests are refused, and the others are granted'(t) {
    const rush = new Rush(t);
    await rush.addSome(20);
    for (let i = 0; i < 10; i++) {
      const key = t.key('paused');
      if (i % 2 === 0) await t.store.release(key, (await t.take(key)).owner);
      await t.pauser.pause(key);
      rush.addRefused({ key }, 'paused');
    }
    await rush.run();
  },
};

export const batchesOnConditions: Cases = {
  async 'B93 runs of a tick, and thefts, keep their conditions among many requests'(t) {
    const rush = new Rush(t);
    await rush.addSome(20);
    for (let i = 0; i < 5; i++) {
      const tick = 1_000 + i;
      const done = t.key('tick');
      const { owner } = await t.take(done, { once: { tick, ahead: LEASE } });
      await t.store.release(done, owner);
      rush.addRefused({ key: done, once: { tick, ahead: LEASE } }, 'tick-done');
      rush.addGranted({ key: t.key('tick'), once: { tick, ahead: LEASE } });
      const held = await t.take(t.key('stolen'));
      rush.addGranted({ key: held.key, stealAfter: 1 }, held.token);
      rush.addRefused({ key: (await t.take(t.key('young'))).key, stealAfter: LEASE }, 'held');
    }
    await t.shortLeasesRanOut(); // every lease is older than a millisecond now
    await rush.run();
  },
};

/** Requests that are sent at the same time, each with a judge of its own. */
class Rush {
  readonly #requests: { request: Request; judge: Judge }[] = [];
  /** Requests of which only the others are judged, or that judge themselves. */
  readonly #beside: (() => Promise<void>)[] = [];

  constructor(private readonly t: ConformanceTrial) {}

  add(request: Request, judge: Judge): void {
    this.#requests.push({ request, judge });
  }

  /** A request that must be granted, and to its own owner. */
  addGranted(attempt: Attempt & { key: string }, before?: number): void {
    const { key, owner = this.t.owner() } = attempt;
    this.add({ ...attempt, owner }, async (result) => {
      assert.ok(result.acquired, `${show(key)} is free, but it was refused: ${show(result)}`);
      assertGrowing(before === undefined ? [result.fencingToken] : [before, result.fencingToken]);
      const expected = {
        fencingToken: result.fencingToken,
        ...(attempt.label !== undefined && { label: attempt.label }),
      };
      assertRecord(await this.t.refusal(key), expected, `another lock answered for ${show(key)}`);
      assert.equal(await this.t.store.renew(key, owner, LEASE), true, `${show(key)} has another owner`);
    });
  }

  /** A request that must be refused. */
  addRefused(
    attempt: Attempt & { key: string },
    reason: 'held' | 'paused' | 'tick-done',
    holder?: Grant & { label: string },
  ): void {
    const { key, owner = this.t.owner() } = attempt;
    this.add({ ...attempt, owner }, async (result) => {
      assert.ok(!result.acquired, `${show(key)} must be refused as ${reason}, but it was granted`);
      assert.equal(result.reason ?? 'held', reason, `${show(key)} was refused for another reason`);
      if (!holder || !this.t.settings.holder) return;
      assertRecord(result.holder, { key, fencingToken: holder.token, label: holder.label });
      assert.equal(await this.t.store.renew(key, holder.owner, LEASE), true);
    });
  }

  /** A request that no statement may carry: its failure is its own. */
  addMalformed(malformed: Partial<Request>): void {
    const { key = this.t.key(), owner = this.t.owner(), ttl = LEASE } = malformed;
    this.#beside.push(async () => {
      await assert.rejects(async () => this.t.store.acquire(key, owner, ttl));
    });
  }

  /** A request whose time limit is likely to pass. It may be granted, or fail. */
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

  /** Sends all requests at once, mixed, and judges the results when all have come. */
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

/** Does the work for all items at once. Throws the first failure only when all have ended. */
async function each<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const runs = items.map(async (item) => work(item));
  await Promise.allSettled(runs);
  return Promise.all(runs);
}

/** The items in a mixture that is the same each time. */
function mixed<T>(items: readonly T[]): T[] {
  const places = items.map((item, i) => ({ item, place: (i * 7919) % 1009 }));
  return places.toSorted((a, b) => a.place - b.place).map(({ item }) => item);
}

async function releases(store: LockStore, { key, owner }: Grant, end?: ReleaseRequest): Promise<void> {
  assert.equal(
    await store.release(key, owner, { ...end, timeout }),
    true,
    `${show(key)} was not released by its owner`,
  );
}

/** Takes those of the keys that are free, all at once. */
async function takeEach(t: ConformanceTrial, store: LockStore, keys: readonly string[]): Promise<Grant[]> {
  const grants = await each(keys, async (key) => {
    const owner = t.owner();
    const result = await t.attempt(key, { store, owner, timeout });
    return result.acquired ? [{ key, owner, token: result.fencingToken }] : [];
  });
  return grants.flat();
}
