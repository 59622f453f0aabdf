import Database from 'better-sqlite3';
import { fromBetterSqlite3 } from '../../../lib/stores/sql/index.js';
import type { ClientKind } from './client-kind.js';

export const betterSqlite3: ClientKind = {
  name: 'better-sqlite3',
  stores: ['sqlite'],
  without: () => ['transactions', 'leaveDirty', 'foreign'],

  async open({ options }) {
    const database = new Database(String(options.database), { timeout: 0 });
    const transaction = async <T>(
      begin: string,
      work: (transaction: unknown) => Promise<T>,
      [end, undo]: string[],
    ) => {
      database.exec(begin);
      try {
        const result = await work(database);
        database.exec(end!);
        return result;
      } catch (error) {
        database.exec(undo!);
        throw error;
      }
    };
    return {
      executor: () => fromBetterSqlite3(database),
      query: async (sql) => {
        const statement = database.prepare(sql);
        return statement.reader ? statement.all() : statement.run();
      },
      transaction: (work) => transaction('BEGIN', work, ['COMMIT', 'ROLLBACK']),
      nested: (_, work) => transaction('SAVEPOINT nested', work, ['RELEASE nested', 'ROLLBACK TO nested']),
      notTransactions: { 'the database': database },
      close: async () => void database.close(),
    };
  },
};
