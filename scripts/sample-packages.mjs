import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

/**
 * Prepares a sample that has a package.json of its own, as an application outside of this
 * checkout has it. The sample finds this package by a link, and all others in the root. Specs
 * that run side by side may prepare the same sample, so nothing is done twice.
 */
export function readySample(folder) {
  if (!existsSync(join(folder, 'package.json'))) return;
  linkPackage(join(folder, 'node_modules'));
  const schema = join(folder, 'prisma/schema.prisma');
  const generated = join(folder, 'src/generated/prisma/client.ts');
  if (existsSync(schema) && changed(generated) < changed(schema)) generatePrismaClient(folder);
}

function linkPackage(modules) {
  const link = join(modules, 'nestjs-locked');
  if (existsSync(link) && realpathSync(link) === realpathSync('.')) return;
  rmSync(link, { recursive: true, force: true });
  mkdirSync(modules, { recursive: true });
  symlinkSync(resolve('.'), link, 'junction');
}

/**
 * Prisma looks for its engine for migrations, although nothing is migrated here. Another
 * program in place of it spares a download.
 */
function generatePrismaClient(folder) {
  execFileSync(process.execPath, [resolve('node_modules/prisma/build/index.js'), 'generate'], {
    cwd: folder,
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** When a file was last changed; a missing one is older than anything. */
function changed(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}
