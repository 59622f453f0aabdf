import { MongoClient } from 'mongodb';
import { unlessThere } from '../locks.mjs';

/** Two updates of one document, each acknowledged by a majority and journalled, on one connection of the driver's. */
export async function openFloor(url) {
  const client = await new MongoClient(url, { maxPoolSize: 1, minPoolSize: 1 }).connect();
  await client.db().createCollection('floor').catch(unlessThere); // now: a mongod under Wine crashes when several make it at once
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
