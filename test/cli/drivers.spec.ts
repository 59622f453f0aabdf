import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { cliDatabases } from './cli-database.js';
import { CliProcesses, type CliProcess } from './cli-process.js';

const DRIVERS = ['pg', 'mysql2', 'better-sqlite3', 'mongodb'];
const CLIENTS = ['typeorm', 'knex', 'drizzle-orm', 'mongoose', '@prisma', '@nestjs', ...DRIVERS];

/**
 * A folder in which nestjs-locked and all other packages except database clients are
 * installed.
 */
class Installation {
  readonly folder = mkdtempSync(join(tmpdir(), 'nestjs-locked-cli-'));

  constructor(private readonly processes: CliProcesses) {
    const ours = join(this.modules, 'nestjs-locked');
    mkdirSync(ours, { recursive: true });
    for (const name of ['dist', 'package.json']) symlinkSync(resolve(name), join(ours, name));
    for (const name of readdirSync('node_modules'))
      if (!CLIENTS.includes(name) && !name.startsWith('.')) this.install(name);
    mkdirSync(join(this.modules, '@nestjs'));
    for (const name of ['@nestjs/common', '@nestjs/core']) this.install(name);
  }

  install(name: string): void {
    symlinkSync(resolve('node_modules', name), join(this.modules, name));
  }

  start(args: string[], env: Record<string, string> = {}): CliProcess {
    const main = join(this.modules, 'nestjs-locked/dist/esm/cli/main.js');
    const preserve = ['--preserve-symlinks', '--preserve-symlinks-main'];
    const { execPath } = process;
    return this.processes.execute(execPath, [...preserve, main, ...args], env, this.folder);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }

  private get modules(): string {
    return join(this.folder, 'node_modules');
  }
}

const processes = new CliProcesses();
afterEach(() => processes.killAll());

describe('nestjs-locked without the driver of a database', () => {
  let installation: Installation;

  beforeAll(() => {
    installation = new Installation(processes);
    writeFileSync(join(installation.folder, 'app.sqlite'), '');
  });
  afterAll(() => installation.remove());

  it.each([
    ['postgres://u:secret@h/d', 'pg'],
    ['mysql://u:secret@h/d', 'mysql2'],
    ['mariadb://u:secret@h/d', 'mysql2'],
    ['sqlite:app.sqlite', 'better-sqlite3'],
    ['mongodb://u:secret@h/d', 'mongodb'],
  ])('B9 without a driver for %s, the error names the package to install', async (url, driver) => {
    const { code, stderr } = await installation.start(['list', '--url', url]).ended;
    expect({ code, stderr }).toEqual({
      code: 64,
      stderr: expect.stringMatching(
        new RegExp(`needs the package ${driver}\\. Run: npm install ${driver}\\.\n$`),
      ),
    });
    expect(stderr).not.toContain('secret');
  });
});

const DRIVER_OF = {
  postgres: 'pg',
  mysql: 'mysql2',
  mysql56: 'mysql2',
  mariadb: 'mysql2',
  sqlite: 'better-sqlite3',
  mongodb: 'mongodb',
};

for (const { name, open } of cliDatabases('postgres', 'mysql', 'mariadb', 'sqlite', 'mongodb'))
  describe(`nestjs-locked with no other client than ${DRIVER_OF[name]}, on ${name}`, () => {
    let installation: Installation;

    beforeAll(() => {
      installation = new Installation(processes);
      installation.install(DRIVER_OF[name]);
    });
    afterAll(() => installation.remove());

    it('B90 with no other client than the driver, hold locks a key, and list shows it in another process', async () => {
      const database = await open();
      try {
        const start = (command: string, ...rest: string[]): CliProcess =>
          installation.start([command, ...database.args, ...rest], database.env);
        if (name !== 'mongodb') {
          const { stdout } = await start('ddl').ended;
          await database.query(stdout.replace(/;\s*$/, ''));
        }
        const holder = start('hold', 'nightly', '--', 'sh', '-c', 'echo held; cat');
        await holder.says(/^held/m);

        expect(await start('hold', 'nightly', '--', 'true').ended).toMatchObject({
          code: 1,
          stderr: expect.stringContaining('nightly'),
        });
        expect(await start('list', '--json').ended).toMatchObject({
          code: 0,
          stdout: expect.stringContaining('"key":"nightly"'),
          stderr: '',
        });
        holder.endInput();
        expect(await holder.ended).toMatchObject({ code: 0, stderr: '' });
        expect(await start('list', '--json').ended).toMatchObject({ code: 0, stdout: '', stderr: '' });
      } finally {
        await processes.killAll();
        await database.dispose();
      }
    });
  });
