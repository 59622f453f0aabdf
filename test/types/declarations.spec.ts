// Compiles the declarations of the built package with compiler settings that differ from those
// of this repository.
import { describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import ts from 'typescript';
import { complaints, root } from './compiler.js';

const declarations = join(root, 'dist/esm');
const consumer = join(root, 'test/types/consumer/application.ts');
const withoutClients = join(root, 'test/types/consumer/without-clients.ts');
const CLIENT =
  /node_modules\/(?:@types\/)?(?:@?prisma|better-sqlite3|drizzle-orm|knex|mongo|mysql|pg|typeorm)/;
const { ES2020, ES2021 } = ts.ScriptTarget;
const { CommonJS, NodeNext } = ts.ModuleKind;
const { Bundler, NodeNext: AsNodeNext } = ts.ModuleResolutionKind;

describe('declarations of the package', () => {
  it.each<[string, ts.CompilerOptions]>([
    ['ES2020, CommonJS', { lib: ['es2020'], target: ES2020, module: CommonJS, moduleResolution: Bundler }],
    [
      'ES2021, NodeNext, exactOptionalPropertyTypes',
      {
        lib: ['es2021'],
        target: ES2021,
        module: NodeNext,
        moduleResolution: AsNodeNext,
        exactOptionalPropertyTypes: true,
      },
    ],
  ])('E18 the declarations compile without skipLibCheck with %s', (_, { lib = [], ...options }) => {
    const program = compiled(consumer, { ...options, lib: lib.map((name) => `lib.${name}.d.ts`) });

    expect(complaints(program, ours)).toBe('');
    expect(program.getSourceFiles().filter(ours).length).toBeGreaterThan(30);
  });

  it('B90 an application with an executor of its own compiles without the types of any database client', () => {
    const lib = ['lib.es2022.d.ts'];
    const program = compiled(withoutClients, { lib, module: NodeNext, moduleResolution: AsNodeNext });
    const files = program.getSourceFiles();

    expect(complaints(program, ours)).toBe('');
    expect(files.filter(({ fileName }) => CLIENT.test(fileName))).toEqual([]);
    expect(files.filter(ours).length).toBeGreaterThan(30);
  });
});

function compiled(file: string, options: ts.CompilerOptions): ts.Program {
  return ts.createProgram([file], {
    ...options,
    strict: true,
    skipLibCheck: false,
    noEmit: true,
    experimentalDecorators: true,
    types: ['node'],
    paths: {
      'nestjs-locked': [join(declarations, 'index.d.ts')],
      'nestjs-locked/store': [join(declarations, 'interfaces/index.d.ts')],
      'nestjs-locked/sql': [join(declarations, 'stores/sql/index.d.ts')],
      'nestjs-locked/typeorm': [join(declarations, 'stores/typeorm/index.d.ts')],
      'nestjs-locked/mongodb': [join(declarations, 'stores/mongodb/index.d.ts')],
      'nestjs-locked/testing': [join(declarations, 'testing/index.d.ts')],
    },
  });
}

function ours({ fileName }: ts.SourceFile): boolean {
  return fileName.startsWith(declarations) || fileName.startsWith(join(root, 'test/types/consumer'));
}
