// npm run build: compiles lib/ into dist/esm and dist/cjs.
import { chmodSync, cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { indentWithTabs, keepDeclarations } from './lean-output.mjs';
import { step } from './step.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

// Everything is built in a temporary folder, and replaces dist only when all of it is ready.
const folder = `.cache/build-${process.pid}`;
const [types, esm, cjs] = ['types', 'esm', 'cjs'].map((name) => join(folder, name));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

// Declarations are compiled separately, since compiling code without comments would also
// remove the TSDoc. Only this compilation checks types.
await compile('declarations', 'tsconfig.types.json', types);
await compile('compile for import', 'tsconfig.build.json', esm);
await compile('compile for require', 'tsconfig.cjs.json', cjs);
writeFileSync(join(cjs, 'package.json'), '{ "type": "commonjs" }\n');

const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
const entries = Object.values(exports).flatMap((entry) => entry.import?.types ?? []);
keepDeclarations(
  types,
  entries.map((file) => file.replace('./dist/esm/', '')),
);
for (const target of [esm, cjs]) {
  cpSync(types, target, { recursive: true });
  indentWithTabs(target);
}

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
renameSync(esm, 'dist/esm');
renameSync(cjs, 'dist/cjs');
// npm makes the file executable when it installs the package, but in the checkout it runs
// without an installation.
chmodSync('dist/esm/cli/main.js', 0o755);

function compile(name, project, outDir) {
  return step(name, process.execPath, ['node_modules/typescript/bin/tsc', '-p', project, '--outDir', outDir]);
}
