import { strict as assert } from 'node:assert';
import { randomInt } from 'node:crypto';
import { fitKey, MAX_KEY_BYTES } from '../../options/lock-key.js';
import { assertRecord, LEASE, show, type Cases, type ConformanceTrial } from './conformance-trial.js';

const ACCENTS = ['r\u00e9sum\u00e9', 're\u0301sume\u0301', '\u00c5', '\u212b', 'A\u030a', '\ufb01', 'fi'];
const LETTERS = [...'i I ı İ 🔒 🔓 𝒂 𝒃 ｉ strasse straße resume Resume RESUME'.split(' '), ...ACCENTS];
const SPACES = ['', ' ', '  ', '\r\n', ...Array.from('\t\n\x01\x1f\u00a0\u00ad\u200b\u2028\ufeff')];
const STATEMENTS = [
  `'; DROP TABLE locks; --`,
  `" OR 1=1 --`,
  `' OR '1'='1`,
  '`; SELECT 1; #',
  '[object Object]',
  '{"$gt":""}',
  ...String.raw`/* */ NULL a.b \ \' % _ ? :key @key $1 $key $$ROOT`.split(' '),
];

/** Keys are compared as bytes: two keys that differ in one byte are different locks. */
export const keys: Cases = {
  async 'B41 keys that differ in case, accents or normal form are different locks'(t) {
    await areDifferent(t, LETTERS);
  },

  async 'B41 keys that differ in spaces or characters without width are different locks'(t) {
    const base = t.key();
    await areDifferent(t, SPACES, (space) => `${base}${space}`);
    await areDifferent(t, SPACES, (space) => `${space}${base}:`);
  },

  async 'B41 a key and a prefix of it are different locks'(t) {
    await areDifferent(t, ['', 'a', 'aa', 'aaa', 'a:', 'a:b']);
  },

  async 'B41 keys that spell the same number differently are different locks'(t) {
    const number = String(randomInt(2 ** 40, 2 ** 47));
    await areDifferent(t, ['#', '0#', '+#', '#.0', '#e0', '# ', '#x'], (form) => form.replace('#', number));
  },

  async 'B41 keys that look like parts of a statement can be locked like any other key'(t) {
    await areDifferent(t, STATEMENTS);
  },

  async 'B41 a key of 500 characters, which is longer than the column, is not cut'(t) {
    const base = t.key().padEnd(499, 'x');
    await areDifferent(t, ['a', 'b', 'A', ' '], (last) => `${base}${last}`);
  },

  async 'B41 keys of 4 KiB that differ only in the last character are different locks'(t) {
    const base = t.key().padEnd(MAX_KEY_BYTES - 1, 'x');
    await areDifferent(t, ['a', 'b', ''], (last) => `${base}${last}`);
  },

  async 'B41 keys longer than the column may have a character of several bytes where the column ends'(t) {
    const base = t.key();
    const long = ['', 'a', 'aa', 'aaa'].flatMap((shift) => [
      `${shift}${'🔒'.repeat(90)}`,
      `${shift}${'€'.repeat(120)}`,
    ]);
    await areDifferent(t, long, (end) => `${base}${end}`);
  },

  async 'B41 a key that equals the stored form of a longer key is a different lock'(t) {
    const long = t.key().padEnd(300, 'x');
    await areDifferent(t, [long, fitKey(long), fitKey(fitKey(long)), `${long}y`], (key) => key);
  },
};

/**
 * Checks that all keys are different locks: holds all of them at the same time, each with its
 * own owner, and releases them one by one.
 */
async function areDifferent(t: ConformanceTrial, names: string[], toKey = suffixed(t)): Promise<void> {
  const grants = [];
  for (const name of names) grants.push(await t.take(toKey(name)));
  for (const { key, owner, token } of grants) {
    assertRecord(
      await t.refusal(key),
      { fencingToken: token },
      `the lock of another key was shown for ${show(key)}`,
    );
    assert.equal(
      await t.store.renew(key, owner, LEASE),
      true,
      `${show(key)} was lost because of another key`,
    );
  }
  for (const { key, owner } of grants) {
    assert.equal(
      await t.store.release(key, owner),
      true,
      `${show(key)} was already released together with another key`,
    );
  }
}

function suffixed(t: ConformanceTrial): (name: string) => string {
  const base = t.key();
  return (name) => `${base}${name}`;
}
