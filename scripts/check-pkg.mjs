// Packs the package as it would be published and has it judged: publint for its manifest, attw for its types under every module resolution.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ready } from './ready.mjs';

await ready({ build: true });
const folder = mkdtempSync(join(tmpdir(), 'nestjs-locked-pack-'));
try {
  const [{ filename, files }] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], 'pipe'),
  );
  const tarball = join(folder, filename);
  console.log(`packed ${files.length} files`);
  run('npx', ['--no-install', 'publint', 'run', tarball, '--strict']);
  run('npx', ['--no-install', 'attw', tarball]);
  optionalPeersStayOptional();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function run(command, args, stdout = 'inherit') {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', stdout, 'inherit'] });
}

/**
 * An entry may need no optional peer to load, neither its code nor its types. Those of TypeORM
 * and MongoDB have types of their clients.
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
