import { describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modulesOf } from './loaded-modules.js';

/** The library must not load these packages unless the application uses them through it. */
const OPTIONAL =
  /^(better-sqlite3|pg|mysql2|typeorm|knex|mongodb|mongoose|drizzle-orm|@prisma\/.*|@nestjs\/(schedule|typeorm|mongoose|microservices))$/;
const OTHERS =
  /^(cli|testing|stores\/(mongodb|typeorm))\/|(mysql|postgres)-(locks|sessions|statements|database|link)|acquire-statements|statement-database/;
/** How many files of the library a start with SQLite loads. */
const FILES = 118;

const CLI = 'dist/esm/cli/main.js'; // `npm run build` makes it

describe('The command line loads only what a command needs', () => {
  it('B79 --help loads no Nest, no driver and no store', async () => {
    const { ours, packages } = await modulesOf([CLI, '--help']);

    expect(packages).toEqual(['commander', 'ms']);
    expect(ours).toContain(CLI.replace('dist/esm/', ''));
    expect(ours).not.toContain('lock.service.js');
    expect(ours.length).toBeLessThan(40);
  });

  it('B79 --help of a command and ddl load no more than --help', async () => {
    const { ours } = await modulesOf([CLI, '--help']);

    expect((await modulesOf([CLI, 'hold', '--help'])).ours).toEqual(ours);
    expect((await modulesOf([CLI, 'ddl', '--dialect', 'sqlite'])).ours).toEqual(ours);
  });
});

describe('The start of an application loads only what its store needs', () => {
  it('B8 with the store for SQL on SQLite, no other client and no code of other databases is loaded', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'start-'));
    try {
      const { ours, packages } = await modulesOf([
        'test/start/application.mjs',
        join(folder, 'locks.sqlite'),
      ]);

      expect(packages.filter((name) => OPTIONAL.test(name))).toEqual(['better-sqlite3']);
      expect(packages).not.toContain('commander');
      expect(ours.filter((file) => OTHERS.test(file))).toEqual([]);
      // Each file costs most of a millisecond of the start (bench/goals.md, S8).
      expect(ours.length).toBeLessThanOrEqual(FILES);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
