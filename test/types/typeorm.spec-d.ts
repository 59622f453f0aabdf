// What the compiler accepts and refuses of the stores in SQL databases: `tsc -p tsconfig.json` is the test.
import type { DataSource } from 'typeorm';
import { TypeOrmLockStore, typeOrmStore } from '../../lib/stores/typeorm/index.js';

export function stores(dataSource: DataSource): void {
  typeOrmStore({ asyncRelease: true, preparedStatements: false });
  typeOrmStore({ connection: { type: 'postgres' }, asyncRelease: true });
  void new TypeOrmLockStore(dataSource, { asyncRelease: true, weak: false });
  void new TypeOrmLockStore(dataSource, { preparedStatements: false });

  // @ts-expect-error yes or no
  typeOrmStore({ asyncRelease: 'off' });
  // @ts-expect-error they have no names to choose
  void new TypeOrmLockStore(dataSource, { preparedStatements: 'locks' });
  // @ts-expect-error the table has no commits
  TypeOrmLockStore.ddl('postgres', { asyncRelease: true });
}
