import * as fc from 'fast-check';
import { fitKey } from '../../lib/options/lock-key.js';

const characters = fc.oneof(
  { weight: 2, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
  // Characters that collations, file systems or drivers may treat as equal.
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      'a',
      'A',
      'é',
      'e\u0301',
      'ß',
      'ss',
      'ı',
      'I',
      '🔒',
      ' ',
      '%',
      '_',
      '\\',
      "'",
      '$',
      '.',
    ),
  },
);

const text = fc
  .string({ unit: characters, minLength: 1, maxLength: 60 })
  .map((made) => made.replaceAll('\0', '0').toWellFormed());

/**
 * Keys of all lengths. Some look like the text under which the library stores a longer key.
 */
export const key: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: text },
  {
    weight: 1,
    arbitrary: fc
      .tuple(text, fc.integer({ min: 150, max: 1000 }))
      .map(([part, length]) => repeat(part, length)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(text, fc.stringMatching(/^[0-9a-f]{64}$/))
      .map(([start, hash]) => `${start}~sha256:${hash}`),
  },
);

/**
 * Keys that are easily confused: each key comes with similar keys and with the text under
 * which it is stored.
 */
export function differentKeys(most: number, least = 1): fc.Arbitrary<string[]> {
  return fc
    .array(key, { minLength: least, maxLength: most })
    .map((keys) => [...new Set(keys.flatMap((one) => [one, ...neighbours(one)]))]);
}

function neighbours(one: string): string[] {
  const changed = [
    `${one} `,
    ` ${one}`,
    `${one}\t`,
    one.toUpperCase(),
    one.toLowerCase(),
    one.normalize('NFC'),
    one.normalize('NFD'),
    fitKey(one),
    fitKey(fitKey(one)),
  ];
  return changed.filter((other) => other !== '' && Buffer.byteLength(other) <= 4096);
}

function repeat(part: string, bytes: number): string {
  return part.repeat(Math.ceil(bytes / Buffer.byteLength(part)));
}
