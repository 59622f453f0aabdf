import { expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { snippetsOf } from '../docs/snippets.js';

/** The test of each row of a guide's tables, by the text of the row's first cell, with the behaviours that it shows. */
export type Rows = Record<string, readonly [behaviours: string, test: () => Promise<void>]>;

/** Runs every row of a guide's tables: a row without a test fails, and a test without a row. */
export function itHolds(guide: string, rows: Rows): void {
  const claims = rowsOf(readFileSync(guide, 'utf8'));

  it(`${guide} has a test for each row, and a row for each test`, () => {
    expect(Object.keys(rows).toSorted()).toEqual(claims.map(({ theirs }) => theirs).toSorted());
  });

  for (const { theirs, ours } of claims) {
    const [behaviours, test] = rows[theirs] ?? ['', () => Promise.reject(new Error('No test has this row.'))];
    it(`${behaviours} ${theirs}`, async () => {
      const used = wordsOf(String(test));
      expect(wordsOf(codeOf(ours)).filter((word) => !used.includes(word))).toEqual([]); // what the row names, its test uses
      await test();
    });
  }
}

/** The example of a guide is the code of a file that a test runs. */
export function itShows(guide: string, example: string): void {
  it(`${guide} shows ${example}`, () => {
    const code = readFileSync(example, 'utf8')
      .replaceAll(/'[./]+\/lib\/index\.js'/g, "'nestjs-locked'")
      .replaceAll(/'[./]+\/lib\/stores\/(\w+)\/index\.js'/g, "'nestjs-locked/$1'");
    expect(snippetsOf(guide).map((snippet) => snippet.code)).toContain(code);
  });
}

interface Row {
  /** The first cell. */
  theirs: string;
  /** The others. */
  ours: string;
}

function rowsOf(markdown: string): Row[] {
  return [...markdown.matchAll(/(?:^\|.*\n)+/gm)].flatMap(([table]) =>
    table
      .trim()
      .split('\n')
      .slice(2) // the heading and the line below it
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

/** The names in code, without what is between quotes: values are the reader's own. */
function wordsOf(code: string): string[] {
  const names = code.replaceAll(/'[^'\n]*'|"[^"\n]*"|\/\/.*/g, '').match(/[A-Za-z_]\w+/g) ?? [];
  return [...new Set(names)].filter((name) => !LANGUAGE.includes(name));
}
