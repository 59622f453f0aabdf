import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { SqlLockStore, fromPrisma } from '../../../lib/stores/sql/index.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { connect, PROVIDERS } from './prisma.js';
import { generatedClient, prismaCli } from './prisma-client.js';

/**
 * The model from docs/clients.md, with the changes that the text there describes for this
 * database.
 */
async function modelFor(name: string): Promise<string> {
  const [, model = ''] =
    /```prisma\n(model Lock [^]*?)```/.exec(await readFile('docs/clients.md', 'utf8')) ?? [];
  if (name === 'postgres') return model;
  const withoutQueue = model.replace(/\n +waiting .*/, '');
  if (name === 'sqlite') return withoutQueue.replaceAll(/ @db\.\w+\(\d+\)/g, '');
  return withoutQueue
    .replace(/key +String +@id @db\.VarChar/, 'key Bytes @id @db.VarBinary')
    .replace(/owner +String\? +@db\.VarChar/, 'owner Bytes? @db.VarBinary');
}

/** For each database, the column types that belong to the types of the Prisma model. */
const TYPES: Record<string, Record<string, string>> = {
  postgres: { String: 'character varying', BigInt: 'bigint', Boolean: 'boolean', 'String[]': 'ARRAY' },
  mariadb: { String: 'varchar', Bytes: 'varbinary', BigInt: 'bigint', Boolean: 'tinyint' },
  sqlite: { String: 'TEXT', BigInt: 'INTEGER', Boolean: 'INTEGER' },
};

/** What the test compares of a column: its type, its length, and whether it may be NULL. */
type Column = [type: string, length: number | null, optional: boolean];

function columnsOf(model: string, types: Record<string, string>): Record<string, Column> {
  const fields = [...model.matchAll(/^ +(\w+) +(\w+)(\?|\[\])?(.*)$/gm)];
  return Object.fromEntries(
    fields.map(([, name = '', type = '', mark = '', attributes = '']) => {
      const column = /@map\("(\w+)"\)/.exec(attributes)?.[1] ?? name;
      const isList = mark === '[]';
      const length = /@db\.\w+\((\d+)\)/.exec(attributes)?.[1];
      // A list is never NULL in Prisma, but its column may be: Prisma then reads an empty
      // list.
      return [
        column,
        [types[isList ? `${type}[]` : type] ?? type, isList ? null : Number(length) || null, mark !== ''],
      ];
    }),
  );
}

async function catalogue(dataSource: DataSource, name: string): Promise<Record<string, Column>> {
  if (name === 'sqlite') {
    const rows = await dataSource.query('PRAGMA table_info(locks)');
    return Object.fromEntries(
      rows.map((row: any) => [row.name, [row.type.toUpperCase(), null, !row.notnull]]),
    );
  }
  const schema = name === 'postgres' ? 'current_schema()' : 'DATABASE()';
  const rows = await dataSource.query(
    `SELECT column_name AS name, data_type AS type, character_maximum_length AS length, is_nullable AS optional
       FROM information_schema.columns WHERE table_name = 'locks' AND table_schema = ${schema}`,
  );
  return Object.fromEntries(
    rows.map((row: any) => [
      row.name,
      [row.type, row.length === null ? null : Number(row.length), row.optional === 'YES'],
    ]),
  );
}

for (const { name, open } of targetsAmong('postgres', 'mariadb', 'sqlite'))
  describe(`the Prisma model of the lock table on ${name}`, () => {
    it('B90 the model is valid, has the columns of the table, and its client reads locks', async () => {
      const model = await modelFor(name);
      const provider = PROVIDERS[name] ?? 'postgresql';
      const folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-model-'));
      await writeFile(
        join(folder, 'schema.prisma'),
        `datasource db {\n  provider = "${provider}"\n}\n\n${model}`,
      );
      expect(await prismaCli(folder, 'validate')).toContain('is valid');
      await rm(folder, { recursive: true });

      const target = await open();
      const dataSource = await new DataSource(target.options).initialize();
      const { adapter, end } = connect(target, 2);
      const { PrismaClient } = await import(await generatedClient(provider, model));
      const prisma: any = new PrismaClient({ adapter });
      const store = new SqlLockStore(fromPrisma(prisma));
      await store.acquire('a key', 'an owner', 10_000, { label: 'a label' });

      expect(columnsOf(model, TYPES[name] ?? {})).toEqual(await catalogue(dataSource, name));
      const [lock] = await prisma.lock.findMany();
      expect(lock).toMatchObject({ label: 'a label', paused: false, tickMs: null });
      await store.close();
      await prisma.$disconnect();
      await end();
      await dataSource.destroy();
      await target.dispose();
    });
  });
