import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));
// The folder is below node_modules, so that Node finds the packages that the library imports.
const folder = join(root, 'node_modules/.cache/nestjs-locked', `compiled-${process.pid}`);
const compilerOptions = readCompilerOptions();
const compiled = new Map();

process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

/**
 * Compiles TypeScript files of this repository, with all their imports, into a new copy, and
 * imports them.
 *
 * @param name names the copy
 * @param entries paths from the root of the repository
 * @param edits the changes in this copy: `{ file, from, to }`, where `from` has to be in the
 * file exactly once
 * @returns the exports of each entry
 */
export async function importCompiled(name, entries, edits = []) {
  const copy = join(folder, name);
  mkdirSync(copy, { recursive: true });
  writeFileSync(join(copy, 'package.json'), '{ "type": "module" }\n');
  const edited = new Map(edits.map(({ file }) => [file, edit(file, edits)]));
  const written = new Set();
  const queue = [...entries];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (written.has(file)) continue;
    written.add(file);
    const { text, imports } = edited.has(file) ? compile(file, edited.get(file)) : compileOnce(file);
    const target = join(copy, file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
    queue.push(...imports);
  }
  return Promise.all(
    entries.map((file) => import(pathToFileURL(join(copy, file.replace(/\.ts$/, '.js'))).href)),
  );
}

function compileOnce(file) {
  if (!compiled.has(file)) compiled.set(file, compile(file, readFileSync(join(root, file), 'utf8')));
  return compiled.get(file);
}

/** Compiles without checking types, which `npm run typecheck` does. */
function compile(file, source) {
  const text = ts.transpileModule(source, { fileName: file, compilerOptions }).outputText;
  const imports = ts
    .preProcessFile(text)
    .importedFiles.map(({ fileName }) => fileName)
    .filter((fileName) => fileName.startsWith('.'))
    .map((fileName) => relative(root, resolve(root, dirname(file), fileName.replace(/\.js$/, '.ts'))));
  return { text, imports };
}

function edit(file, edits) {
  let source = readFileSync(join(root, file), 'utf8');
  for (const { from, to } of edits.filter((one) => one.file === file)) {
    const parts = source.split(from);
    if (parts.length !== 2)
      throw new Error(
        `A planted bug changes ${JSON.stringify(from)} in ${file}, which is there ${parts.length - 1} times. Look what became of it, and plant the bug anew in test/simulation/planted-bugs.ts.`,
      );
    source = parts.join(to);
  }
  return source;
}

function readCompilerOptions() {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  return { ...options, module: ts.ModuleKind.ESNext, noEmit: false, removeComments: true };
}
