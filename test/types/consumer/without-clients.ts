// declarations.spec.ts compiles this application as if no database client were installed.
import { LockModule, type LockService } from 'nestjs-locked';
import {
  SqlLockStore,
  sqlSessionStore,
  sqlStore,
  type SqlExecutor,
  type TransactionOf,
} from 'nestjs-locked/sql';

interface Transaction {
  query(sql: string): Promise<number>;
}
declare const executor: SqlExecutor<Transaction>;

export const modules = [
  LockModule.forRoot({ store: sqlStore({ executor, table: 'locks', weak: undefined }) }),
  LockModule.forRoot({ store: sqlStore({ inject: ['POOL'], executor: () => executor }) }),
  LockModule.forRoot({ store: sqlSessionStore({ executor }) }),
  LockModule.forRoot({ store: new SqlLockStore(executor) }),
];

export async function settle(locks: LockService<TransactionOf<typeof executor>>): Promise<number> {
  return locks.run('settle', (lock) => lock.transaction((transaction) => transaction.query('SELECT 1')));
}
