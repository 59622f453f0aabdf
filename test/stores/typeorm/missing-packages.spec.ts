import { describe, expect, it, jest } from '@jest/globals';

// This spec hides these packages. The entry point has to load without them, and a store has to
// name them as missing.
for (const name of ['typeorm', '@nestjs/typeorm', 'pg', 'mysql2', 'better-sqlite3'])
  jest.unstable_mockModule(name, () => {
    throw new Error(`Cannot find package '${name}'`);
  });

const { typeOrmStore, TypeOrmLockStore, lockTableMigration } =
  await import('../../../lib/stores/typeorm/index.js');

describe('the entry point without the packages of a database', () => {
  it('B9 the entry point loads without the packages of a database', () => {
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

describe('a store without the driver that TypeORM needs', () => {
  it.each([
    ['mysql', 'mysql2'],
    ['mariadb', 'mysql2'],
    ['postgres', 'pg'],
    ['better-sqlite3', 'better-sqlite3'],
  ])('E14 a store with a connection of its own to %s names the driver %s', async (type, driver) => {
    jest.unstable_mockModule('typeorm', () => ({
      DataSource: class {
        async initialize(): Promise<never> {
          const text = `${type} package has not been found installed. Please run "npm install mysql"`;
          throw Object.assign(new Error(text), { name: 'DriverPackageNotInstalledError' });
        }
      },
    }));
    const store: any = await typeOrmStore({ connection: { type } as never }).useFactory();
    const error: any = await store.prepare().catch((thrown: unknown) => thrown);
    expect(error.message).toMatch(
      new RegExp(`needs the driver of ${type}\\. Run: npm install ${driver}\\.$`),
    );
  });
});
