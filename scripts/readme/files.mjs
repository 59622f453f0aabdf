import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/**
 * Returns the complete files that a document shows: the blocks of TypeScript whose first line
 * is a comment with the name of the file.
 *
 * @returns {{ name: string, where: string, code: string }[]}
 */
export function filesOf(document) {
  const text = readFileSync(document, 'utf8');
  return [...text.matchAll(/^```ts\n(\/\/ (src\/\S+\.ts)\b[\s\S]*?)^```/gm)].map(
    ([, code, name], i, all) => ({
      name,
      where: `${document}:${text.slice(0, all[i].index).split('\n').length}`,
      code,
    }),
  );
}

/** Returns the first example of the README, which is a whole application. */
export function firstExample() {
  const [example] = filesOf('README.md');
  return example.code;
}

/**
 * Writes an application with one module into `folder`, compiled as `nest build` compiles it,
 * with the main file of a new Nest application.
 */
export function writeApplication(folder, moduleCode) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'app.module.js'), compiled(moduleCode));
  writeFileSync(
    join(folder, 'main.js'),
    `import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule);
app.enableShutdownHooks();
await app.listen(process.env.PORT ?? 0);
`,
  );
  return { main: join(folder, 'main.js'), remove: () => rmSync(folder, { recursive: true, force: true }) };
}

function compiled(code) {
  return ts.transpileModule(code, {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
    },
  }).outputText;
}
