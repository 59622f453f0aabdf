import { describe, expect, it, jest } from '@jest/globals';

// None of them is there in this file: the entry has to load all the same, and to say what it lacks when it is used.
for (const name of ['typeorm', '@nestjs/typeorm', 'pg', 'mysql2', 'better-sqlite3'])
  jest.unstable_mockModule(name, () => {
    throw new Error(`Cannot find package '${name}'`);
  });

const { typeOrmStore, TypeOrmLockStore, lockTableMigration } =
  await import('../../../lib/stores/typeorm/index.js');

describe('without the packages of a database', () => {
  it('B9 the entry loads', () => {
    expect(TypeOrmLockStore.ddl('postgres')).toContain('CREATE TABLE');
    expect(new (lockTableMigration())().name).toBe('CreateLocksTable1763596800000');
  });

  it('B9 a store names the packages to install', async () => {
    const own: any = await typeOrmStore({ connection: { type: 'postgres' } }).useFactory();
    await expect(own.prepare()).rejects.toThrow(
      /needs the package typeorm.*npm install typeorm @nestjs\/typeorm.*pg, mysql2/,
    );
    const shared: any = await typeOrmStore().useFactory({ get: () => undefined });
    await expect(shared.prepare()).rejects.toThrow(/needs the package @nestjs\/typeorm.*npm install/);
  });
});
