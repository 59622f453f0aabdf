import { describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modulesOf } from './loaded-modules.js';

/** The library may load these packages only if the application uses them. */
const OPTIONAL =
  /^(better-sqlite3|pg|mysql2|typeorm|knex|mongodb|mongoose|drizzle-orm|@prisma\/.*|@nestjs\/(schedule|typeorm|mongoose|microservices))$/;
const OTHERS =
  /^(cli|testing|stores\/(mongodb|typeorm))\/|(mysql|postgres)-(locks|sessions|statements|database|link)|acquire-statements|statement-database/;
/** A start with SQLite may load at most this many files of the library. */
const FILES = 118;

const CLI = 'dist/esm/cli/main.js'; // `npm run build` makes this file.

describe('The command line loads only what a command needs', () => {
  it('B79 --help loads no Nest, no driver and no store', async () => {
    const { ours, packages } = await modulesOf([CLI, '--help']);

    expect(packages).toEqual(['commander', 'ms']);
    expect(ours).toContain(CLI.replace('dist/esm/', ''));
    expect(ours).not.toContain('lock.service.js');
    expect(ours.length).toBeLessThan(40);
  });

  it('B79 ddl and the --help of a command load no more files than --help', async () => {
    const { ours } = await modulesOf([CLI, '--help']);

    expect((await modulesOf([CLI, 'hold', '--help'])).ours).toEqual(ours);
    expect((await modulesOf([CLI, 'ddl', '--dialect', 'sqlite'])).ours).toEqual(ours);
  });
});

describe('The start of an application loads only what its store needs', () => {
  it('B8 an application with SQLite loads no other client and no code for other databases', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'start-'));
    try {
      const { ours, packages } = await modulesOf([
        'test/start/application.mjs',
        join(folder, 'locks.sqlite'),
      ]);

      expect(packages.filter((name) => OPTIONAL.test(name))).toEqual(['better-sqlite3']);
      expect(packages).not.toContain('commander');
      expect(ours.filter((file) => OTHERS.test(file))).toEqual([]);
      // Each file that is loaded makes the start almost a millisecond longer (bench/goals.md,
      // S8).
      expect(ours.length).toBeLessThanOrEqual(FILES);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
