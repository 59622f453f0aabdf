import { strict as assert } from 'node:assert';
import type { LockInspector } from '../../interfaces/lock-store.interface.js';
import { assertTimeLeft, LEASE, show, type Cases, type Grant } from './conformance-trial.js';

/** A list has the held locks, page by page. */
export const listing: Cases = {
  async 'B70 a list is sorted by the bytes of the keys, and its pages leave out no lock'(t) {
    const prefix = `${t.key()}:`;
    // These names are in the order of their bytes. Sorted as UTF-16, by collation or by
    // number, their order differs.
    const names = ['10', '2', 'B', 'Z', '_', 'a', 'a ', 'a!', 'aa', 'z', 'é', '～', '🔒'];
    for (const name of names.toReversed()) await t.take(`${prefix}${name}`);
    for (const limit of [1, 5, names.length, 1000]) {
      const pages = await readAll(t.inspector, prefix, limit);
      assert.deepEqual(
        pages.flat(),
        names.map((name) => `${prefix}${name}`),
      );
      assert.equal(
        pages.length,
        Math.ceil(names.length / limit),
        `a list of ${names.length} locks has a wrong number of pages of ${limit}: ${show(pages)}`,
      );
    }
  },

  async 'B70 a list can go on after a key that is no longer held'(t) {
    const prefix = `${t.key()}:`;
    const [a, b, c] = [await t.take(`${prefix}a`), await t.take(`${prefix}b`), await t.take(`${prefix}c`)];
    const { next } = await t.inspector.list({ prefix, limit: 2 });
    assert.equal(next, b.key);
    for (const { key, owner } of [a, b]) await t.store.release(key, owner);
    const { locks } = await t.inspector.list({ prefix, limit: 2, after: next });
    assert.deepEqual(
      Array.from(locks, ({ key }) => key),
      [c.key],
    );
  },

  async 'B70 a list takes every character of its prefix literally'(t) {
    const base = t.key();
    const names = [
      '%',
      '%a',
      '_',
      '_a',
      '\\',
      '\\%',
      'a',
      'A',
      'ab',
      `'`,
      '*',
      '[a]',
      '.',
      '^',
      '🔒',
      'é',
      'e',
    ];
    for (const name of names) await t.take(`${base}${name}`);
    for (const name of names) {
      const pages = await readAll(t.inspector, `${base}${name}`, 100);
      const expected = names.filter((other) => other.startsWith(name)).map((other) => `${base}${other}`);
      assert.deepEqual(new Set(pages.flat()), new Set(expected));
    }
  },

  async 'B70 a list without a prefix has all held locks'(t) {
    const grants: Grant[] = [await t.take(t.key()), await t.take(t.key())];
    const listed = new Set((await readAll(t.inspector, undefined, 1000)).flat());
    for (const { key } of grants) assert.ok(listed.has(key), `${key} is held, but not listed`);
  },
};

/**
 * For stores whose leases expire, and in which a key can stay taken for some time after its
 * release.
 */
export const listingOfLeases: Cases = {
  async 'B70 a list has held keys and keys that a release keeps taken, and no others'(t) {
    const prefix = `${t.key()}:`;
    const expired = await t.take(`${prefix}expired`, { ttl: t.settings.ttl });
    await t.shortLeasesRanOut();
    const released = await t.take(`${prefix}released`);
    await t.store.release(released.key, released.owner);
    const kept = await t.take(`${prefix}kept`);
    await t.store.release(kept.key, kept.owner, { keepFor: LEASE });
    const held = await t.take(`${prefix}held`, { label: 'worker' });

    const page = await t.inspector.list({ prefix, limit: 1000 });
    const [first, ...others] = page.locks;
    assert.ok(first, `${expired.key} has expired, but ${held.key} is held and must be listed`);
    assert.equal(first.key, held.key);
    assert.equal(first.label, 'worker');
    assert.equal(first.fencingToken, held.token);
    assertTimeLeft(first, LEASE);
    // Array.from() copies the driver's array into the realm of the test runner, since
    // deepEqual() tells arrays of two realms apart.
    assert.deepEqual(
      Array.from(others, ({ key }) => key),
      [kept.key],
    );
    assert.equal(page.next, undefined);
    assert.ok(!show(page).includes(held.owner), `the list shows an owner id: ${show(page)}`);
  },
};

/** Reads all pages, and returns the keys of each page. */
async function readAll(
  inspector: LockInspector,
  prefix: string | undefined,
  limit: number,
): Promise<string[][]> {
  const pages: string[][] = [];
  let after: string | undefined;
  do {
    const page = await inspector.list({ prefix, limit, after });
    assert.ok(page.locks.length <= limit, `a page of at most ${limit} locks has ${page.locks.length}`);
    assert.ok(
      page.next === undefined || after === undefined || page.next !== after,
      'a page has the same `next` as the page before, so the list would never end',
    );
    pages.push(Array.from(page.locks, ({ key }) => key));
    after = page.next;
  } while (after !== undefined);
  return pages;
}
