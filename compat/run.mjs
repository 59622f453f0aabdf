// Installs the packed package into applications outside of this checkout, one for each
// supported generation of Nest, and checks that their locks work.
//   node compat/run.mjs [NAME...]   by default all; `samples`: the samples with a package.json
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ready } from '../scripts/ready.mjs';
import { checkSamples } from './samples.mjs';

await ready({ build: true });
const { start: startPostgres } = await import('../test/servers/postgres.mjs');
const { start: startMongodb } = await import('../test/servers/mongodb.mjs');

const root = fileURLToPath(new URL('..', import.meta.url));
const here = join(root, 'compat');
const all = readdirSync(here, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name.startsWith('nest'))
  .map((entry) => entry.name);
const chosen = process.argv.length > 2 ? process.argv.slice(2) : [...all, 'samples'];
const workspace = mkdtempSync(join(tmpdir(), 'nestjs-locked-compat-'));
const [postgres, mongodb] = await Promise.all([startPostgres(), startMongodb()]);
try {
  const [{ filename }] = JSON.parse(
    run(root, 'npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', workspace], 'pipe'),
  );
  const tarball = join(workspace, filename);
  for (const name of chosen)
    if (name === 'samples') checkSamples({ root, workspace, tarball, run });
    else check(name, tarball);
  console.log(`compatible: ${chosen.join(', ')}`);
} finally {
  await Promise.all([postgres.stop(), mongodb.stop()]);
  rmSync(workspace, { recursive: true, force: true });
}

function check(name, tarball) {
  console.log(`== ${name}`);
  const folder = join(workspace, name);
  cpSync(join(here, name), folder, { recursive: true });
  for (const file of [
    'application.ts',
    'clients.ts',
    'inferred.ts',
    'one-class.cjs',
    'tsconfig.json',
    'tsconfig.clients.json',
  ])
    cpSync(join(here, file), join(folder, file));
  run(folder, 'npm', [
    'install',
    '--no-audit',
    '--no-fund',
    '--no-package-lock',
    '--loglevel=error',
    tarball,
  ]);
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  run(folder, process.execPath, [tsc, '-p', 'tsconfig.json']);
  // This is a separate compilation, since the declarations of Apollo need additional packages.
  run(folder, process.execPath, [tsc, '-p', 'tsconfig.clients.json']);
  run(folder, process.execPath, ['out/application.js']);
  run(folder, process.execPath, ['out/clients.js']);
  run(folder, process.execPath, ['one-class.cjs']);
  run(folder, 'npx', ['--no-install', 'nestjs-locked', '--version']);
  // texts.spec reads errors that the package does not export. factory-hooks depends on an
  // order of hooks that Nest 11 has changed.
  if (name === 'nest10-cjs') runSpecs(folder, ['texts', 'factory-hooks']);
  // The specs of Nest 12 run in the checkout.
  if (name === 'nest11-cjs') runSpecs(folder, ['texts']);
}

/** Runs the specs of the module against the package that is installed in the application. */
function runSpecs(application, without) {
  const folder = join(application, 'specs');
  for (const part of ['test/module', 'test/servers/free-port.mjs'])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  // Symbol.for() returns the symbol that the package uses too, so the specs can reach the
  // internals of the package's service.
  const internals = join(folder, 'lock-internals.js');
  writeFileSync(internals, "export const INTERNALS = Symbol.for('nestjs-locked: internals');");
  const config = {
    rootDir: folder,
    testMatch: ['<rootDir>/test/**/*.spec.ts'],
    testPathIgnorePatterns: without,
    extensionsToTreatAsEsm: ['.ts'],
    transform: {
      '^.+\\.ts$': [
        join(root, 'node_modules/ts-jest'),
        { useESM: true, tsconfig: join(root, 'tsconfig.json'), diagnostics: false },
      ],
    },
    moduleNameMapper: {
      '^(\\.\\./)+lib/index\\.js$': 'nestjs-locked',
      '^(\\.\\./)+lib/lock-internals\\.js$': internals,
      '^(\\.\\./)+lib/interfaces/index\\.js$': 'nestjs-locked/store',
      '^(\\.\\./)+lib/testing/index\\.js$': 'nestjs-locked/testing',
      '^(\\.{1,2}/.*)\\.js$': '$1',
    },
    testTimeout: 30_000,
    maxWorkers: 2,
  };
  writeFileSync(join(folder, 'jest.config.json'), JSON.stringify(config));
  run(folder, process.execPath, [
    ...['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
    ...[join(root, 'node_modules/jest/bin/jest.js'), '--config', 'jest.config.json'],
  ]);
}

function run(cwd, command, args, stdout = 'inherit') {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', stdout, 'inherit'],
    env: {
      ...process.env,
      DATABASE_URL: postgres.url,
      MONGODB_URL: mongodb.url,
      // The samples run no migrations, so any program can replace Prisma's engine for
      // migrations.
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
    },
    timeout: 600_000,
  });
}
