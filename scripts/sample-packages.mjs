import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

/**
 * Prepares a sample that has its own package.json, as if it were an application outside of
 * this checkout. The sample finds this package through a link, and all other packages in the
 * root. Several specs may prepare a sample at once, so a step that is already done is skipped.
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
 * Generates the Prisma client of a sample. `prisma generate` looks for Prisma's engine for
 * migrations but does not run it, so the path of another program avoids the download.
 */
function generatePrismaClient(folder) {
  execFileSync(process.execPath, [resolve('node_modules/prisma/build/index.js'), 'generate'], {
    cwd: folder,
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** Returns the time of a file's last change. A missing file counts as older than any other. */
function changed(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}
