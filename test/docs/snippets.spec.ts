import { beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { readySample } from '../../scripts/sample-packages.mjs';
import { completeFiles, documents } from './complete-files.js';
import { problemsOf, snippetsOf, type Snippet } from './snippets.js';

const wrong: Snippet = { where: 'here', code: 'const lock = await locks.acquire(7);' };
const snippets = documents.flatMap(snippetsOf);
let problems: Map<Snippet, string[]>;

describe('snippets of the documentation', () => {
  beforeAll(() => {
    // The Prisma snippets import the client that this sample generates.
    readySample('sample/05-prisma-postgres');
    problems = problemsOf([...snippets, wrong]);
  }, 120_000);

  it.each(snippets.map((snippet) => [snippet.where, snippet] as const))(
    'the snippet at %s compiles',
    (_, snippet) => {
      expect(problems.get(snippet)).toEqual([]);
    },
  );

  it('B90 the executor in docs/executors.md is the file that the conformance suite tests', () => {
    const tested = readFileSync('test/stores/clients/postgresjs-executor.ts', 'utf8')
      .replace('../../../lib/index.js', 'nestjs-locked')
      .replace('../../../lib/stores/sql/index.js', 'nestjs-locked/sql');
    expect(snippetsOf('docs/executors.md')[0]?.code).toBe(tested);
  });

  it('the compiler finds the mistake in a wrong snippet', () => {
    expect(snippets.length).toBeGreaterThan(5);
    expect(problems.get(wrong)).toEqual([expect.stringContaining('number')]);
  });
});

describe('README.md', () => {
  it('has at most 1,200 words of prose, without code and tables', () => {
    expect(wordsOf(readFileSync('README.md', 'utf8'))).toBeLessThanOrEqual(1_200);
  });

  it('contains only TypeScript blocks that are complete files', () => {
    const blocks = readFileSync('README.md', 'utf8').match(/^ *```ts$/gm);
    expect(blocks).toHaveLength(completeFiles.filter(({ where }) => where.startsWith('README.md')).length);
  });
});

/**
 * Counts the words of a document without its code blocks, tables and pictures. The text of a
 * link counts.
 */
function wordsOf(document: string): number {
  return document
    .replaceAll(/^ *```[\s\S]*?^ *```$/gm, '')
    .replaceAll(/^\|.*$/gm, '')
    .replaceAll(/!\[[^\]]*\]\([^)]*\)/g, '')
    .replaceAll(/\]\([^)]*\)/g, '')
    .split(/\s+/)
    .filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}
