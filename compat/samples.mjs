// Installs each sample that has a package.json of its own as its users would, compiles it, and
// checks that no database client came along that it did not ask for.
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
  const wanted = Object.keys({ ...dependencies, ...devDependencies });
  const ways = waysTo(CLIENTS, tree);
  // A package that was asked for may need a client of its own, as the command line of Prisma does.
  const unwanted = ways.filter(([first]) => !wanted.includes(first) || first === 'nestjs-locked');
  assert.deepEqual(unwanted, [], 'a client came along that the sample did not ask for');
  const found = new Set(ways.map((way) => way.at(-1)));
  console.log(`clients: ${[...found].join(', ')}`);
}

/** The ways through the tree of `npm ls` that lead to one of the packages. */
function waysTo(names, { dependencies = {} }, way = []) {
  return Object.entries(dependencies).flatMap(([name, dependency]) => {
    const here = [...way, name];
    return [...(names.includes(name) ? [here] : []), ...waysTo(names, dependency, here)];
  });
}
