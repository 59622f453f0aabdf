// Types that the MongoDB stores accept and refuse; `tsc -p tsconfig.json` is the test.
import type { Collection, Db, MongoClient } from 'mongodb';
import { MongoLockStore, mongoStore, mongooseStore } from '../../lib/stores/mongodb/index.js';

interface Document {
  _id: string;
  some: number;
}

export function stores(client: MongoClient, db: Db, collection: Collection<Document>): void {
  mongoStore({ url: 'mongodb://localhost/app', collectionName: 'locks' });
  mongoStore({ client, databaseName: 'app', writeConcern: { w: 'majority', journal: true } });
  mongoStore({ db, deleteUnusedAfter: '7d' });
  mongoStore({ collection });
  mongoStore({ collection, db, client, url: 'mongodb://localhost' });
  mongooseStore();
  mongooseStore({ connectionName: 'second', collectionName: 'locks' });
  void new MongoLockStore(collection, { deleteUnusedAfter: '1h' });
  mongoStore({ db, weak: true, deleteUnusedAfter: '1h' });
  mongooseStore({ weak: true, connectionName: 'second' });

  // @ts-expect-error weak locks exclude the option writeConcern
  mongoStore({ db, weak: true, writeConcern: { w: 'majority' } });
  // @ts-expect-error weak locks exclude the option writeConcern
  mongooseStore({ weak: true, writeConcern: { w: 1 } });
  // @ts-expect-error no database is given in which the locks are kept
  mongoStore({});
  // @ts-expect-error databaseName is superfluous beside the option db
  mongoStore({ db, databaseName: 'app' });
  // @ts-expect-error collectionName is superfluous beside the option collection
  mongoStore({ collection, collectionName: 'locks' });
  // @ts-expect-error durations have no such unit
  mongoStore({ db, deleteUnusedAfter: '7 moons' });
  // @ts-expect-error mongooseStore() has no option url, because it uses Mongoose's connection
  mongooseStore({ url: 'mongodb://localhost' });
  // @ts-expect-error the store needs a collection, not a database
  void new MongoLockStore(db);
}
