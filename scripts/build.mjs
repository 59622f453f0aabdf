// npm run build: compiles lib/ into dist/esm and dist/cjs.
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { step } from './step.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const tsc = 'node_modules/typescript/bin/tsc';

// Beside dist, which is swapped only when both have compiled; as deep as dist/esm, so that source maps point at lib/.
const esm = `.cache/esm-${process.pid}`;
const cjs = `.cache/cjs-${process.pid}`;
process.on('exit', () => [esm, cjs].forEach((folder) => rmSync(folder, { recursive: true, force: true })));

await step('compile for import', process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', esm]);
await step('compile for require', process.execPath, [tsc, '-p', 'tsconfig.cjs.json', '--outDir', cjs]);
writeFileSync(join(cjs, 'package.json'), '{ "type": "commonjs" }\n');

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
renameSync(esm, 'dist/esm');
renameSync(cjs, 'dist/cjs');
chmodSync('dist/esm/cli/main.js', 0o755); // npm does the same where it installs the package; here it is run as it is
