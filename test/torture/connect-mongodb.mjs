import { MongoClient } from 'mongodb';
import { mongoStore } from 'nestjs-locked/mongodb';
import { MongoLedger } from './mongo-ledger.mjs';

/**
 * Connects a worker to MongoDB. Its locks and ledgers share one client, as in an application.
 */
export async function connect({ url, clientOptions, databaseName }) {
  const client = await new MongoClient(url, clientOptions).connect();
  const db = client.db(databaseName);
  return {
    imports: [],
    store: mongoStore({ db }),
    ledgerOf: () => new MongoLedger(db),
    close: () => client.close(),
  };
}
