import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { SqlLockStore } from '../../../lib/stores/sql/index.js';
import { lockStoreConformance, type ConformanceCase } from '../../../lib/testing/index.js';
import type { Target } from '../../servers/targets.js';
import { SideBySide } from '../side-by-side.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { clientsOf, type Client } from './clients.js';

const targets = targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56');
const opened: { dispose(): Promise<void> }[] = [];
const clients = new Map<string, Client>();
const stores = new Map<string, ConformanceCase[]>();

for (const target of targets)
  for (const client of Object.keys(clientsOf(target))) {
    const store = `SqlLockStore over ${client} on ${target.name}`;
    stores.set(
      store,
      lockStoreConformance(() => new SqlLockStore(clients.get(store)!.executor), { rounds: 5 }),
    );
  }

beforeAll(async () => {
  for (const target of targets) {
    const database: Target = await target.open();
    opened.push(database);
    for (const [client, open] of Object.entries(clientsOf(target)))
      clients.set(`SqlLockStore over ${client} on ${target.name}`, open(database));
  }
});
afterAll(async () => {
  for (const client of clients.values()) await client.end();
  for (const target of opened) await target.dispose();
});

const sideBySide = new SideBySide(stores);
for (const [store, cases] of stores)
  describe(store, () => {
    for (const { name } of cases) it(`B90 ${name}`, () => sideBySide.keeps(store, name));
  });
