import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { cachedFolder } from '../../servers/cache-folder.mjs';

export type PrismaProvider = 'postgresql' | 'mysql' | 'sqlite';

const { resolve } = createRequire(import.meta.url);
const cli = join(dirname(resolve('prisma/package.json')), 'build/index.js');

/** The models of an application. */
const MODELS = `model Note {
  id   BigInt  @id
  note String? @db.VarChar(64)

  @@map("app_notes")
}`;

/**
 * Generates a Prisma client as an application does, and compiles it for plain Node. The cache
 * keeps it for later runs.
 * @param models of the schema
 * @returns the URL of the module that exports PrismaClient
 */
export async function generatedClient(
  provider: PrismaProvider,
  models = modelsFor(provider),
): Promise<string> {
  const schema = `generator client {
  provider            = "prisma-client"
  output              = "./src"
  importFileExtension = "js"
  moduleFormat        = "esm"
}

datasource db {
  provider = "${provider}"
}

${models}
`;
  const { version } = JSON.parse(await readFile(resolve('prisma/package.json'), 'utf8')) as {
    version: string;
  };
  const hash = createHash('sha256').update(schema).digest('hex').slice(0, 12);
  const folder = await cachedFolder(`prisma-${version}-${provider}-${hash}`, async (empty: string) => {
    await writeFile(join(empty, 'schema.prisma'), schema);
    await writeFile(join(empty, 'package.json'), '{ "type": "module" }');
    await prismaCli(empty, 'generate');
    await compile(join(empty, 'src'), join(empty, 'dist'));
  });
  return pathToFileURL(join(folder, 'dist/client.js')).href;
}

/**
 * Runs a command of Prisma on the schema in this folder, without downloading Prisma's engines.
 */
export async function prismaCli(folder: string, command: 'generate' | 'validate'): Promise<string> {
  const env = {
    ...process.env,
    PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true',
    PRISMA_HIDE_UPDATE_MESSAGE: 'true',
  };
  const args = [cli, command, '--schema', join(folder, 'schema.prisma')];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, env });
  return stdout;
}

function modelsFor(provider: PrismaProvider): string {
  return provider === 'sqlite' ? MODELS.replace('@db.VarChar(64)', '') : MODELS;
}

async function compile(from: string, to: string): Promise<void> {
  await mkdir(to);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name.replace(/\.ts$/, '.js'))];
    if (entry.isDirectory()) await compile(source, target);
    else await writeFile(target, transpiled(await readFile(source, 'utf8')));
  }
}

function transpiled(source: string): string {
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  return ts.transpileModule(source, { compilerOptions }).outputText;
}
