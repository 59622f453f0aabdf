import { expect, it } from '@jest/globals';
import * as driver7 from 'mongodb';
import * as driver6 from 'mongodb6';
import { MongoLockStore, type MongoLockStoreOptions } from '../../../lib/stores/mongodb/index.js';
import { openMongoDatabase, selectedStores } from '../../servers/targets.js';

/**
 * The supported drivers: the newest releases of versions 6 and 7. Both have the same types for
 * everything that the store uses.
 */
export const drivers = [
  { name: 'driver 7', MongoClient: driver7.MongoClient },
  { name: 'driver 6', MongoClient: driver6.MongoClient as unknown as typeof driver7.MongoClient },
] as const;

export const { MongoClient } = driver7;

/**
 * Whether this run tests MongoDB. If it does not, the file gets a test that says so, because
 * Jest refuses a file without a test.
 */
export function mongodbIsSelected(): boolean {
  const selected = selectedStores.includes('mongodb');
  if (!selected)
    it('a run that leaves MongoDB out of LOCK_TEST_STORES skips this file', () => {
      expect(process.env.LOCK_TEST_STORES?.split(',')).not.toContain('mongodb');
    });
  return selected;
}

/** The clients that one spec file opens on a database of its own; `dispose()` closes them. */
export class MongoFixture {
  private readonly database = openMongoDatabase();
  private readonly clients: driver7.MongoClient[] = [];
  private created: Promise<void> | undefined;

  get url(): string {
    return this.database.url;
  }

  get databaseName(): string {
    return this.database.databaseName;
  }

  async client(
    options: driver7.MongoClientOptions = {},
    Client: typeof driver7.MongoClient = MongoClient,
  ): Promise<driver7.MongoClient> {
    this.created ??= this.create('locks');
    await this.created;
    const client = await new Client(this.url, options).connect();
    this.clients.push(client);
    return client;
  }

  /**
   * Creates collections in advance: MongoDB under Wine crashes when several clients create
   * them at once.
   */
  async create(...names: string[]): Promise<void> {
    const client = await new MongoClient(this.url).connect();
    for (const name of names) await client.db(this.databaseName).createCollection(name);
    await client.close();
  }

  async collection(
    options: driver7.MongoClientOptions = {},
    Client = MongoClient,
  ): Promise<driver7.Collection<any>> {
    return (await this.client(options, Client)).db(this.databaseName).collection('locks');
  }

  async store(
    options: MongoLockStoreOptions = {},
    clientOptions: driver7.MongoClientOptions = {},
  ): Promise<MongoLockStore> {
    const store = new MongoLockStore(await this.collection(clientOptions), options);
    await store.prepare();
    return store;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
    await this.database.dispose();
  }
}
