// Types that the stores in SQL databases accept and refuse; `tsc -p tsconfig.json` is the
// test.
import { expectTypeOf } from 'expect-type';
import type { DataSource } from 'typeorm';
import type { LockStore, LockStoreDefinition, WakeUps } from '../../lib/interfaces/index.js';
import { TypeOrmLockStore, typeOrmStore } from '../../lib/stores/typeorm/index.js';

export function stores(dataSource: DataSource): void {
  expectTypeOf(typeOrmStore()).toEqualTypeOf<LockStoreDefinition>();
  typeOrmStore({ wakeUps: false });
  typeOrmStore({ wakeUps: true, weak: true, dataSource: 'second' });
  typeOrmStore({ connection: { type: 'postgres' }, wakeUps: false });
  expectTypeOf(new TypeOrmLockStore(dataSource, { wakeUps: false })).toExtend<LockStore & WakeUps>();

  // @ts-expect-error wakeUps is true or false
  typeOrmStore({ wakeUps: 'never' });
  // @ts-expect-error wakeUps is true or false
  void new TypeOrmLockStore(dataSource, { wakeUps: 1 });
  // @ts-expect-error the option is misspelt
  typeOrmStore({ wakeups: false });
  // @ts-expect-error wakeUps does not change the table, so ddl() does not know it
  TypeOrmLockStore.ddl('postgres', { wakeUps: false });

  typeOrmStore({ asyncRelease: true, preparedStatements: false });
  typeOrmStore({ connection: { type: 'postgres' }, asyncRelease: true });
  void new TypeOrmLockStore(dataSource, { asyncRelease: true, weak: false });
  void new TypeOrmLockStore(dataSource, { preparedStatements: false });

  // @ts-expect-error asyncRelease is true or false
  typeOrmStore({ asyncRelease: 'off' });
  // @ts-expect-error preparedStatements is true or false
  void new TypeOrmLockStore(dataSource, { preparedStatements: 'locks' });
  // @ts-expect-error asyncRelease does not change the table, so ddl() does not know it
  TypeOrmLockStore.ddl('postgres', { asyncRelease: true });
}
