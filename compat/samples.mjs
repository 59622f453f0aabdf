// Installs each sample that has its own package.json, in the way of its users, and compiles
// it. Checks that this installs no database client that the sample does not need.
import { strict as assert } from 'node:assert';
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const CLIENTS = [
  '@nestjs/mongoose',
  '@nestjs/typeorm',
  '@prisma/client',
  'better-sqlite3',
  'drizzle-orm',
  'knex',
  'kysely',
  'mongodb',
  'mongoose',
  'mysql2',
  'pg',
  'prisma',
  'typeorm',
];

/** @param run runs a command in a folder: (folder, command, args, stdout) */
export function checkSamples({ root, workspace, tarball, run }) {
  const samples = join(root, 'sample');
  for (const name of readdirSync(samples).filter((sample) =>
    existsSync(join(samples, sample, 'package.json')),
  )) {
    console.log(`== ${name}`);
    const folder = join(workspace, name);
    cpSync(join(samples, name), folder, {
      recursive: true,
      filter: (path) => !/[/\\](node_modules|dist|generated)$/.test(path),
    });
    run(folder, 'npm', [
      'install',
      '--no-audit',
      '--no-fund',
      '--no-package-lock',
      '--loglevel=error',
      tarball,
    ]);
    assertOnlyWanted(folder, run);
    run(folder, 'npm', ['run', '--silent', 'build']);
    run(folder, 'npx', ['--no-install', 'nestjs-locked', '--version']);
  }
}

function assertOnlyWanted(folder, run) {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const tree = JSON.parse(run(folder, 'npm', ['ls', '--all', '--json'], 'pipe'));
  const wanted = new Set(Object.keys({ ...dependencies, ...devDependencies }));
  const ways = waysTo(CLIENTS, tree);
  // A package that the sample asks for may need a client: the command line of Prisma needs
  // mysql2. Clients below nestjs-locked do not count, since `npm ls` shows its optional peers
  // there even if another package needs them.
  const explained = ways.filter(([first]) => first !== 'nestjs-locked').map((way) => way.at(-1));
  const found = new Set(ways.map((way) => way.at(-1)));
  const top = Object.keys(tree.dependencies).filter((name) => !wanted.has(name));
  const unwanted = [...found].filter((name) => !explained.includes(name));
  assert.deepEqual([...top, ...unwanted], [], 'a package came along that the sample did not ask for');
  console.log(`clients: ${[...found].join(', ')}`);
}

/**
 * Returns the ways through the tree of `npm ls` to one of the packages. Optional peers that
 * are not installed have no version in the tree, and are left out.
 */
function waysTo(names, { dependencies = {} }, way = []) {
  return Object.entries(dependencies).flatMap(([name, dependency]) => {
    if (dependency.version === undefined) return [];
    const here = [...way, name];
    return [...(names.includes(name) ? [here] : []), ...waysTo(names, dependency, here)];
  });
}
