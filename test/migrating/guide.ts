import { expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { snippetsOf } from '../docs/snippets.js';

/**
 * The tests of the rows in a guide's tables, by the text of each row's first cell. Each test
 * has the number of the behaviour that it shows.
 */
export type Rows = Record<string, readonly [behaviour: string, test: () => Promise<void>]>;

/**
 * Runs the test of every row in a guide's tables. A row without a test fails, and so does a
 * test without a row.
 */
export function itHolds(guide: string, rows: Rows): void {
  const claims = rowsOf(readFileSync(guide, 'utf8'));

  it(`every row of ${guide} has a test, and every test has a row`, () => {
    expect(Object.keys(rows).toSorted()).toEqual(claims.map(({ theirs }) => theirs).toSorted());
  });

  for (const { theirs, ours } of claims) {
    const [behaviour, test] = rows[theirs] ?? ['', () => Promise.reject(new Error('No test has this row.'))];
    it(`${behaviour} the guide is right about "${theirs}"`, async () => {
      const used = wordsOf(String(test));
      // The test has to use every name that occurs in the row.
      expect(wordsOf(codeOf(ours)).filter((word) => !used.includes(word))).toEqual([]);
      await test();
    });
  }
}

/** Tests that the example in a guide is the code of a file that a test runs. */
export function itShows(guide: string, example: string): void {
  it(`the example of ${guide} is the file ${example}`, () => {
    const code = readFileSync(example, 'utf8')
      .replaceAll(/'[./]+\/lib\/index\.js'/g, "'nestjs-locked'")
      .replaceAll(/'[./]+\/lib\/stores\/(\w+)\/index\.js'/g, "'nestjs-locked/$1'");
    expect(snippetsOf(guide).map((snippet) => snippet.code)).toContain(code);
  });
}

interface Row {
  /** The text of the row's first cell. */
  theirs: string;
  /** The text of the row's other cells. */
  ours: string;
}

function rowsOf(markdown: string): Row[] {
  return [...markdown.matchAll(/(?:^\|.*\n)+/gm)].flatMap(([table]) =>
    table
      .trim()
      .split('\n')
      .slice(2) // Skips the heading of the table and the line below the heading.
      .map((line) => {
        const [, theirs = '', ...ours] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
        return { theirs, ours: ours.join(' ') };
      }),
  );
}

function codeOf(text: string): string {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code).join('\n');
}

const LANGUAGE = ['await', 'using', 'const', 'null', 'true', 'false', 'string'];

/**
 * Returns the names that occur in code. Quoted values are left out, because readers choose
 * their own values.
 */
function wordsOf(code: string): string[] {
  const names = code.replaceAll(/'[^'\n]*'|"[^"\n]*"|\/\/.*/g, '').match(/[A-Za-z_]\w+/g) ?? [];
  return [...new Set(names)].filter((name) => !LANGUAGE.includes(name));
}
