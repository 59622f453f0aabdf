import { MemoryLockStore } from 'nestjs-locked';
import { MongoLockStore } from 'nestjs-locked/mongodb';
import { TypeOrmLockStore } from 'nestjs-locked/typeorm';
import { MongoClient } from 'mongodb';
import { DataSource } from 'typeorm';

const POOL = 4;

/**
 * Opens a store. The result can also count the connections that the application has to the
 * database, and close them.
 */
export async function openStore({ kind, options }) {
  return kind === 'memory' ? openMemory() : kind === 'mongodb' ? openMongodb(options) : openSql(options);
}

function openMemory() {
  return { store: new MemoryLockStore({ history: 100 }), connections: () => 0, close: async () => {} };
}

async function openSql(options) {
  // The pool keeps all of its connections open, so that only a leak changes their number.
  const extra = options.type === 'postgres' ? { max: POOL, idleTimeoutMillis: 0 } : {};
  const dataSource = await new DataSource({ ...options, extra }).initialize();
  return {
    store: new TypeOrmLockStore(dataSource),
    connections: () => dataSource.driver.master?.totalCount ?? 0,
    close: () => dataSource.destroy(),
  };
}

async function openMongodb({ url, databaseName }) {
  const client = new MongoClient(url, { minPoolSize: POOL, maxPoolSize: POOL });
  let open = 0;
  client.on('connectionCreated', () => open++);
  client.on('connectionClosed', () => open--);
  await client.connect();
  return {
    store: new MongoLockStore(client.db(databaseName).collection('locks')),
    connections: () => open,
    close: () => client.close(),
  };
}
