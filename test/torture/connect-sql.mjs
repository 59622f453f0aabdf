import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { typeOrmStore } from 'nestjs-locked/typeorm';
import { SqlLedger } from './sql-ledger.mjs';

/**
 * Connects a worker to a SQL database. Its locks and ledgers share one pool, as in an
 * application.
 */
export function connect({ options }) {
  return {
    imports: [TypeOrmModule.forRoot({ ...options, retryAttempts: 0, logging: false })],
    store: typeOrmStore({ autoCreate: false }),
    ledgerOf: (app) => new SqlLedger(app.get(getDataSourceToken())),
    close: async () => {},
  };
}
