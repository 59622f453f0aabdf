// Compares the compiler's output for the commonest mistakes (mistakes/*.ts) with the .txt file
// beside each. After an intended change, UPDATE_MISTAKES=1 npm test -- mistakes.spec writes
// the .txt files again.
import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { checkoutOptions, complaints, root } from './compiler.js';

const folder = join(root, 'test/types/mistakes');
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -3));

describe('the compiler on the commonest mistakes', () => {
  const program = ts.createProgram(
    names.map((name) => join(folder, `${name}.ts`)),
    checkoutOptions(),
  );

  it.each(names)('E15 the compiler explains the mistake in %s', (name) => {
    const golden = join(folder, `${name}.txt`);
    const said = complaints(program, ({ fileName }) => fileName.endsWith(`/mistakes/${name}.ts`))
      // The compiler's message counts the options that it leaves out, and this number grows
      // with each new option.
      .replaceAll(/\d+ more/g, 'N more');
    if (process.env['UPDATE_MISTAKES']) writeFileSync(golden, said);

    expect(said).toBe(readFileSync(golden, 'utf8'));
  });
});

describe('the compiler on @Locked()', () => {
  it('E16 `key` and `onBusy` may take different numbers of parameters of the method', () => {
    const file = join(root, 'test/types/locked.spec-d.ts');
    const program = ts.createProgram([file], checkoutOptions());

    expect(complaints(program, ({ fileName }) => fileName.endsWith('/locked.spec-d.ts'))).toBe('');
  });
});
