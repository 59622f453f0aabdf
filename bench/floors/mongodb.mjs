import { MongoClient } from 'mongodb';
import { unlessThere } from '../locks.mjs';

/**
 * The floor of MongoDB: two updates of one document on one connection of the driver. A
 * majority of the servers acknowledges and journals each update.
 */
export async function openFloor(url) {
  const client = await new MongoClient(url, { maxPoolSize: 1, minPoolSize: 1 }).connect();
  // The collection is created here, since a mongod under Wine crashes when several clients
  // create it at once.
  await client.db().createCollection('floor').catch(unlessThere);
  const documents = client.db().collection('floor');
  const durable = { upsert: true, writeConcern: { w: 'majority', journal: true } };
  let token = 0;
  return {
    async pair(key) {
      const expiresAt = new Date(Date.now() + 30_000);
      await documents.updateOne(
        { _id: key },
        { $set: { owner: 'floor', token: ++token, expiresAt } },
        durable,
      );
      await documents.updateOne({ _id: key }, { $set: { owner: null, expiresAt: new Date(0) } }, durable);
    },
    select: (key) => documents.findOne({ _id: key }),
    close: () => client.close(),
  };
}
