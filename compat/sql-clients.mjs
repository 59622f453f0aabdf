// Installs the packed package beside the oldest and the newest supported version of each
// client of an SQL database, without any other client. Then it takes locks in PostgreSQL,
// MariaDB or SQLite.
//   node compat/sql-clients.mjs [CLIENT...]   by default all
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { ready } from '../scripts/ready.mjs';

await ready({ build: true });
const { cachedFolder } = await import('../test/servers/cache-folder.mjs');
const { start: startPostgres } = await import('../test/servers/postgres.mjs');
const { start: startMariadb } = await import('../test/servers/mariadb.mjs');

const root = fileURLToPath(new URL('..', import.meta.url));
const here = join(root, 'compat/sql-clients');
const APPLICATION = {
  '@nestjs/common': '^12.5.0',
  '@nestjs/core': '^12.5.0',
  '@nestjs/schedule': '^12.0.0',
  '@types/node': '^20.19.0',
  'reflect-metadata': '^0.2.2',
  rxjs: '^7.8.2',
};
const PG = { pg: '^8.23.0', '@types/pg': '^8.23.0' };
/** The versions of each client, with the other packages that an application needs for them. */
const VERSIONS = {
  pg: [{ pg: '8.11.0', '@types/pg': '8.11.0' }, PG],
  mysql2: [{ mysql2: '3.9.8' }, { mysql2: '^3.24.0' }],
  'better-sqlite3': [
    { 'better-sqlite3': '11.0.0', '@types/better-sqlite3': '^7.6.0' },
    { 'better-sqlite3': '^12.11.0', '@types/better-sqlite3': '^7.6.0' },
  ],
  'drizzle-orm': [
    { 'drizzle-orm': '0.36.0', pg: '8.11.0', '@types/pg': '8.11.0' },
    { 'drizzle-orm': '^0.45.4', ...PG },
  ],
  knex: [
    { knex: '3.0.1', pg: '8.11.0' },
    { knex: '^3.3.0', pg: '^8.23.0' },
  ],
  prisma: [
    { '@prisma/client': '7.5.0', '@prisma/adapter-pg': '7.5.0', prisma: '7.5.0' },
    { '@prisma/client': '^7.10.0', '@prisma/adapter-pg': '^7.10.0', prisma: '^7.10.0' },
  ],
  typeorm: [
    { typeorm: '0.3.22', pg: '8.11.0' },
    { typeorm: '^1.1.0', pg: '^8.23.0' },
  ],
};
/** An application must not contain a client from this list unless it asks for it. */
const CLIENTS = [
  'typeorm',
  'pg',
  'mysql2',
  'better-sqlite3',
  'drizzle-orm',
  'knex',
  '@prisma/client',
  'mongodb',
  'mongoose',
];

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(VERSIONS);
const workspace = mkdtempSync(join(tmpdir(), 'nestjs-locked-clients-'));
const [postgres, mariadb] = await Promise.all([startPostgres(), startMariadb()]);
try {
  const [{ filename }] = JSON.parse(
    await run(root, 'npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', workspace]),
  );
  const checks = chosen.flatMap((client) =>
    VERSIONS[client].map((versions, index) => ({
      client,
      versions,
      folder: join(workspace, `${client}-${index}`),
    })),
  );
  // better-sqlite3 is checked first, since compiling its addon takes longest.
  checks.sort(
    (one, other) => Number(other.client === 'better-sqlite3') - Number(one.client === 'better-sqlite3'),
  );
  await inPairs(checks, (check) => checkClient(check, join(workspace, filename)));
  console.log(`compatible: ${chosen.join(', ')}`);
} finally {
  await Promise.all([postgres.stop(), mariadb.stop()]);
  rmSync(workspace, { recursive: true, force: true });
}

/**
 * Runs two checks at a time, since a check alone often waits for the registry, the compiler or
 * a database.
 */
async function inPairs(checks, check) {
  const rest = [...checks];
  const work = async () => {
    for (let next = rest.shift(); next; next = rest.shift()) await check(next);
  };
  await Promise.all([work(), work()]);
}

async function checkClient({ client, versions, folder }, tarball) {
  const begin = Date.now();
  mkdirSync(folder);
  for (const file of ['application.ts', `${client}.ts`]) cpSync(join(here, file), join(folder, file));
  const tsconfig = JSON.parse(readFileSync(join(here, 'tsconfig.json'), 'utf8'));
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ ...tsconfig, files: [`${client}.ts`] }));
  const dependencies = { ...APPLICATION, ...versions, 'nestjs-locked': `file:${tarball}` };
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: `compat-${client}`, private: true, type: 'module', dependencies }),
  );
  const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error', '--prefer-offline'];
  await run(folder, 'npm', ['install', '--ignore-scripts', ...quiet]);
  await assertOnlyAskedFor(folder, versions);
  if (client === 'better-sqlite3') await addAddon(folder);
  if (client === 'prisma') await generate(folder, versions);
  await run(folder, process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json']);
  await run(folder, process.execPath, [`out/${client}.js`], await databasesFor(folder));
  const { version } = installed(folder, client === 'prisma' ? '@prisma/client' : client);
  console.log(`${client} ${version}: ${((Date.now() - begin) / 1000).toFixed(0)} s`);
}

/**
 * Fails if the application has a client that it did not ask for. `npm ls` also fails if a
 * version does not match a peer dependency.
 */
async function assertOnlyAskedFor(folder, versions) {
  const tree = JSON.parse(await run(folder, 'npm', ['ls', '--all', '--json', ...CLIENTS]));
  const found = Object.keys(tree.dependencies ?? {}).filter((name) => CLIENTS.includes(name));
  const stray = found.filter((name) => !(name in versions));
  if (stray.length > 0) throw new Error(`${folder} has clients that it did not ask for: ${stray.join(', ')}`);
}

/**
 * Copies the compiled addon of better-sqlite3 into the application. The checkout has the addon
 * of the newest version; that of the oldest version is compiled once and kept.
 */
async function addAddon(folder) {
  const { version } = installed(folder, 'better-sqlite3');
  const addon = 'node_modules/better-sqlite3/build';
  const from =
    installed(root, 'better-sqlite3').version === version
      ? root
      : await cachedFolder(`better-sqlite3-${version}`, async (empty) => {
          writeFileSync(join(empty, 'package.json'), '{}');
          await run(empty, 'npm', [
            'install',
            `better-sqlite3@${version}`,
            '--no-audit',
            '--no-fund',
            '--loglevel=error',
          ]);
        });
  cpSync(join(from, addon), join(folder, addon), { recursive: true });
}

/** Generates the Prisma client without an engine, since Prisma would download the engine. */
async function generate(folder, versions) {
  // Prisma 6 reads the URL from the schema. Prisma 7 reads it from its configuration, and
  // refuses it in the schema.
  const url = versions.prisma.startsWith('6') ? 'url = env("POSTGRES_URL")' : '';
  const schema = `generator client {
  provider            = "prisma-client"
  output              = "./generated"
  engineType          = "client"
  importFileExtension = "js"
  moduleFormat        = "esm"
}
datasource db {
  provider = "postgresql"
  ${url}
}
model Note {
  id Int @id

  @@map("notes")
}
`;
  writeFileSync(join(folder, 'schema.prisma'), schema);
  const env = {
    PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true',
    PRISMA_HIDE_UPDATE_MESSAGE: 'true',
    POSTGRES_URL: postgres.url,
  };
  await run(
    folder,
    process.execPath,
    ['node_modules/prisma/build/index.js', 'generate', '--schema', 'schema.prisma'],
    env,
  );
}

/** Creates a new database on each server for one application. */
async function databasesFor(folder) {
  const name = folder.slice(workspace.length + 1).replaceAll('-', '_');
  const admin = new pg.Client(postgres.url);
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  const connection = await mysql.createConnection(mariadb.url);
  await connection.query(`CREATE DATABASE ${name}`);
  await connection.end();
  return {
    POSTGRES_URL: postgres.url.replace(/[^/]*$/, name),
    MARIADB_URL: mariadb.url.replace(/[^/]*$/, name).replace(/^mariadb:/, 'mysql:'),
  };
}

function installed(folder, name) {
  return JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8'));
}

async function run(cwd, command, args, env = {}) {
  try {
    const options = { cwd, env: { ...process.env, ...env }, timeout: 600_000, maxBuffer: 64 * 1024 * 1024 };
    const { stdout } = await promisify(execFile)(command, args, options);
    return stdout;
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')} failed in ${cwd}:\n${error.stdout}\n${error.stderr}`);
  }
}
