import { MongoClient } from 'mongodb';
import { LockService } from 'nestjs-locked';
import { MongoLockStore } from 'nestjs-locked/mongodb';
import { TypeOrmLockStore } from 'nestjs-locked/typeorm';
import { DataSource } from 'typeorm';

/** The ttl of locks in the experiments, in milliseconds, which is the library's default. */
export const TTL = 30_000;

/**
 * Connects an application to the database behind a URL. Applications in one process share
 * nothing, so they behave like separate processes.
 *
 * `protect` creates the data that a lock protects. `writeFenced` writes to the data, unless
 * they were written with a greater token before.
 */
export async function connect(url, options = {}) {
  const application = url.startsWith('mongodb') ? await connectMongodb(url) : await connectSql(url, options);
  await application.store.prepare();
  const locks = new LockService({ options: { ttl: TTL }, openStore: () => application.store });
  const internals = locks[Symbol.for('nestjs-locked: internals')];
  await internals.start();
  return {
    ...application,
    locks,
    async close() {
      await internals.close();
      await application.disconnect();
    },
  };
}

async function connectSql(url, options) {
  const { protocol, hostname: host, port, username, password, pathname } = new URL(url);
  const type = protocol === 'mysql:' ? 'mariadb' : 'postgres';
  const database = pathname.slice(1);
  const address = { type, host, port: Number(port), username, password, database };
  const dataSource = await new DataSource({ ...address, ...options }).initialize();
  const mark = (n) => (type === 'postgres' ? `$${n}` : '?');
  const update = `UPDATE protected SET fence = ${mark(1)} WHERE id = ${mark(2)} AND fence <= ${mark(3)}`;
  return {
    store: new TypeOrmLockStore(dataSource),
    dataSource,
    async protect(key) {
      await dataSource.query(
        'CREATE TABLE IF NOT EXISTS protected (id varchar(40) PRIMARY KEY, fence bigint)',
      );
      await dataSource.query(`INSERT INTO protected VALUES ('${key}', 0)`);
    },
    async writeFenced(key, token) {
      const runner = dataSource.createQueryRunner();
      try {
        return (await runner.query(update, [token, key, token], true)).affected === 1;
      } finally {
        await runner.release();
      }
    },
    inTransaction: (work) => dataSource.transaction(work),
    disconnect: () => dataSource.destroy(),
  };
}

async function connectMongodb(url) {
  const client = await new MongoClient(url).connect();
  const db = client.db('experiments');
  const rows = db.collection('protected');
  return {
    store: new MongoLockStore(db.collection('locks')),
    protect: (_id) => rows.insertOne({ _id, fence: 0 }),
    async writeFenced(_id, token) {
      const { matchedCount } = await rows.updateOne(
        { _id, fence: { $lte: token } },
        { $set: { fence: token } },
      );
      return matchedCount === 1;
    },
    inTransaction: (work) => client.withSession((session) => session.withTransaction(() => work(session))),
    disconnect: () => client.close(),
  };
}
