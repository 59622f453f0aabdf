// npm run check:pkg
// Packs the package as it would be published, and checks its size and files, its manifest
// (publint), and its types under every module resolution (attw). It also checks the links of
// the README, and runs the conformance suite from the package.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { publish, restore } from './published-readme.mjs';
import { ready } from './ready.mjs';

/**
 * The limit for the unpacked package in bytes, without cli/ and testing/, which applications
 * do not load.
 */
const LARGEST = 1_600_000;

await ready({ build: true });
// The folder is inside the checkout, so that the unpacked package finds its peer dependencies.
mkdirSync('.cache', { recursive: true });
const folder = mkdtempSync(join('.cache', 'pack-'));
try {
  const { filename, files } = pack();
  const tarball = join(folder, filename);
  filesAreLean(files);
  run('npx', ['--no-install', 'publint', 'run', tarball, '--strict']);
  run('npx', ['--no-install', 'attw', tarball]);
  run('tar', ['-xzf', tarball, '-C', folder]);
  linksAreAbsolute(readFileSync(join(folder, 'package/README.md'), 'utf8'));
  run(process.execPath, ['scripts/packed-conformance.mjs', join(folder, 'package')]);
  optionalPeersStayOptional();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Packs like `npm pack`, but without its build, since the build is up to date. */
function pack() {
  publish();
  try {
    const options = ['--json', '--ignore-scripts', '--pack-destination', folder];
    return JSON.parse(run('npm', ['pack', ...options], 'pipe'))[0];
  } finally {
    restore();
  }
}

function filesAreLean(files) {
  const size = files
    .filter(({ path }) => !/^dist\/(esm|cjs)\/(cli|testing)\//.test(path))
    .reduce((sum, file) => sum + file.size, 0);
  console.log(`packed ${files.length} files; ${size} bytes without cli/ and testing/`);
  if (size > LARGEST) throw new Error(`the package may have ${LARGEST} bytes without cli/ and testing/`);
  const allowed = /^(dist\/.*(\.js|\.d\.ts|package\.json)|package\.json|LICENSE|README\.md|CHANGELOG\.md)$/;
  const stray = files.map(({ path }) => path).filter((path) => !allowed.test(path));
  if (stray.length > 0) throw new Error(`these files do not belong into the package: ${stray.join(', ')}`);
  const mapped = files.filter(({ path }) => readFileSync(path, 'utf8').includes('sourceMappingURL'));
  if (mapped.length > 0)
    throw new Error(`${mapped[0].path} names a source map, which the package does not have`);
}

function linksAreAbsolute(readme) {
  const relative = readme.match(/(\]\(|src=")(?!#|https:)[^)"]*/g) ?? [];
  if (relative.length > 0) throw new Error(`the published README has relative links: ${relative.join(', ')}`);
  console.log('the published README has no relative link');
}

function run(command, args, stdout = 'inherit') {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', stdout, 'inherit'] });
}

/**
 * Checks that no entry needs an optional peer to load, and that no types need one. Only the
 * entries for TypeORM and MongoDB have types from their clients.
 */
function optionalPeersStayOptional() {
  const optional = [
    'typeorm',
    '@nestjs/typeorm',
    'better-sqlite3',
    'pg',
    'mysql2',
    'drizzle-orm',
    'knex',
    '@prisma/client',
    'mongodb',
    'mongoose',
    '@nestjs/mongoose',
    '@nestjs/schedule',
    '@nestjs/microservices',
  ];
  const pattern = new RegExp(`(?:from|import|require\\()\\s*['"](?:${optional.join('|')})(?:/[^'"]*)?['"]`);
  const leaks = readdirSync('dist', { recursive: true }).filter(
    (file) =>
      (/\.js$/.test(file) || (/\.d\.ts$/.test(file) && !/stores.(typeorm|mongodb)/.test(file))) &&
      hasStaticImport(file, pattern),
  );
  if (leaks.length > 0) throw new Error(`optional peers are imported on load by ${leaks.join(', ')}`);
  console.log('no entry needs an optional peer to load');
}

function hasStaticImport(file, pattern) {
  const lines = readFileSync(join('dist', file), 'utf8').split('\n');
  return lines.some((line) => /^(import|export|const|var|let)\b/.test(line) && pattern.test(line));
}
