import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { assertKey, assertOwner, fitKey, MAX_KEY_BYTES } from '../lib/options/lock-key.js';
import { LockError } from '../lib/lock.errors.js';

const COLUMN = 255;
const SUFFIX = /~sha256:[0-9a-f]{64}$/;

/** Makes strings of any UTF-16 code units, including halves of surrogate pairs and NUL. */
const anyString = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0, 0x61, 0xd83d, 0xdd12)))
  .map((units) => String.fromCharCode(...units));

const character = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((one) => one !== '\0'),
  fc.constantFrom('a', 'é', '€', '🔒', '~'),
);
const key = fc.oneof(
  fc.string({ unit: character, minLength: 1, maxLength: 1000 }),
  // These keys have about as many bytes as fit into the column of the database.
  fc.string({ unit: character, minLength: 60, maxLength: 70 }),
  fc.tuple(fc.string({ unit: character, maxLength: 80 }), fc.stringMatching(/^[0-9a-f]{64}$/)).map(lookAlike),
);
const longKey = fc
  .tuple(fc.string({ unit: character, minLength: 1, maxLength: 100 }), fc.integer({ min: 256, max: 1000 }))
  .map(([text, length]) => text.padEnd(length, text).toWellFormed());

describe('assertKey', () => {
  it('B41 a key is a well-formed string of 1 to 4096 bytes without NUL', () => {
    fc.assert(
      fc.property(anyString, (text) => {
        const right = text !== '' && text.isWellFormed() && !text.includes('\0');
        expect(accepts(text)).toBe(right);
      }),
    );
  });

  it('B41 a value that is no string is refused as a key', () => {
    const noString = fc
      .anything({ withBigInt: true, withDate: true })
      .filter((value) => typeof value !== 'string');
    fc.assert(fc.property(noString, (value) => expect(accepts(value)).toBe(false)));
    for (const value of [Symbol('key'), () => 'key', Object('key'), Buffer.from('key')]) {
      expect(accepts(value)).toBe(false);
    }
  });

  it.each([
    ['x', 1],
    ['é', 2],
    ['€', 3],
    ['🔒', 4],
  ])('B41 the length of a key is counted in bytes: %s counts %i', (text, bytes) => {
    const most = Math.floor(MAX_KEY_BYTES / bytes);
    expect(accepts(text.repeat(most))).toBe(true);
    expect(accepts(text.repeat(most + 1))).toBe(false);
  });

  it.each([
    [42, 'A lock key must be a string, but it is of type number. Make it a string: `order:${id}`.'],
    [['a'], 'A lock key must be a string, but it is an array. Make it a string: `order:${id}`.'],
    [undefined, 'A lock key must be a string, but it is undefined. Make it a string: `order:${id}`.'],
    [null, 'A lock key must be a string, but it is null. Make it a string: `order:${id}`.'],
    ['', 'A lock key must not be empty. Give the name of what is locked.'],
    ['a\0b', String.raw`The lock key "a\u0000b" contains a NUL character. Remove it.`],
    [
      'a\ud83d',
      String.raw`The lock key "a\ud83d" contains a lone surrogate (half of a character). Use String.prototype.toWellFormed().`,
    ],
    [
      'é'.repeat(3000),
      `The lock key "${'é'.repeat(40)}…" has 6000 bytes; the limit is 4096. Use an id or a hash of the content as the key.`,
    ],
  ])('B41 the error for a wrong key names the fault and the next step (case %#)', (value, message) => {
    expect(() => assertKey(value)).toThrow(new LockError(message));
  });

  it('B41 the error shows the beginning of a long key and never half a character', () => {
    expect(() => assertKey(`${'x'.repeat(39)}🔒${'x'.repeat(5000)}`)).toThrow(`"${'x'.repeat(39)}\ufffd…"`);
  });
});

describe('assertOwner', () => {
  it('B36 an owner is a non-empty, well-formed string without NUL', () => {
    fc.assert(
      fc.property(anyString, (text) => {
        const right = text !== '' && text.isWellFormed() && !text.includes('\0');
        expect(refusalOf(text) === undefined).toBe(right);
      }),
    );
  });

  it('B86 the error for a wrong owner never shows the owner', () => {
    expect(refusalOf('a secret\0')).toBe('The lock owner contains a NUL character. Remove it.');
    expect(refusalOf('a secret\ud800')).not.toContain('secret');
    expect(refusalOf(['a secret'])).toBe('A lock owner must be a non-empty string, but it is an array.');
    expect(refusalOf('')).toBe('A lock owner must be a non-empty string, but it is empty.');
  });
});

describe('fitKey', () => {
  it('B41 a key that fits is stored unchanged, unless it looks like a shortened key', () => {
    fc.assert(
      fc.property(key, (text) => {
        const fits = Buffer.byteLength(text) <= COLUMN && !SUFFIX.test(text);
        expect(fitKey(text) === text).toBe(fits);
      }),
    );
  });

  it('B41 the stored form of a key is valid UTF-8 of at most 255 bytes, and is itself a valid key', () => {
    fc.assert(
      fc.property(fc.oneof(key, longKey), (text) => {
        const fitted = fitKey(text);
        expect(Buffer.byteLength(fitted)).toBeLessThanOrEqual(COLUMN);
        expect(Buffer.from(fitted).toString()).toBe(fitted);
        expect(accepts(fitted)).toBe(true);
      }),
    );
  });

  it('B41 a long key is stored as its beginning, as much as fits, and the hash of the whole key', () => {
    fc.assert(
      fc.property(longKey, (text) => {
        const start = fitKey(text).replace(SUFFIX, '');
        expect(text.startsWith(start)).toBe(true);
        expect(Buffer.byteLength(start)).toBeGreaterThan(COLUMN - 72 - 4);
        expect(fitKey(text)).toBe(`${start}~sha256:${createHash('sha256').update(text).digest('hex')}`);
      }),
    );
  });

  it('B41 equal keys have equal stored forms, and different keys different ones', () => {
    fc.assert(
      fc.property(fc.oneof(key, longKey), fc.oneof(key, longKey), (one, other) => {
        expect(fitKey(one) === fitKey(other)).toBe(one === other);
      }),
    );
  });

  it('B41 long keys that differ in one character have different stored forms', () => {
    fc.assert(
      fc.property(longKey, fc.nat(), (text, at) => {
        const characters = Array.from(text);
        characters[at % characters.length] += 'x';
        expect(fitKey(characters.join(''))).not.toBe(fitKey(text));
      }),
    );
  });

  it('B41 the stored form of a long key can itself be used as a key, which is stored in another form', () => {
    fc.assert(
      fc.property(longKey, (text) => {
        const once = fitKey(text);
        const forms = [once, fitKey(once), fitKey(fitKey(once))];
        expect(new Set(forms).size).toBe(3);
      }),
    );
  });

  it('B41 keys are stored in the same form as in existing tables', () => {
    expect(fitKey('x'.repeat(255))).toBe('x'.repeat(255));
    expect(fitKey('x'.repeat(256))).toBe(
      `${'x'.repeat(183)}~sha256:${createHash('sha256').update('x'.repeat(256)).digest('hex')}`,
    );
    expect(fitKey(`report ${'é'.repeat(200)}`)).toBe(
      `report ${'é'.repeat(88)}~sha256:b884a012f1bf8376a8934e08a14bf24c1f60e53602c536d0a2b1d8dc06dc5008`,
    );
  });

  it('B41 the stored form of an invalid key is refused', () => {
    expect(() => fitKey('')).toThrow(LockError);
    expect(() => fitKey(`${'x'.repeat(300)}\ud800`)).toThrow(LockError);
  });
});

function accepts(value: unknown): boolean {
  try {
    assertKey(value);
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(LockError);
    return false;
  }
}

function refusalOf(owner: unknown): string | undefined {
  try {
    assertOwner(owner);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(LockError);
    return (error as LockError).message;
  }
}

function lookAlike([start, hash]: [string, string]): string {
  return `${start}~sha256:${hash}`;
}
