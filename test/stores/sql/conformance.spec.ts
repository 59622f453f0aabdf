import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { SqlLockStore } from '../../../lib/stores/sql/index.js';
import { lockStoreConformance, type ConformanceCase } from '../../../lib/testing/index.js';
import { betterSqlite3 } from '../clients/better-sqlite3.js';
import type { TestClient } from '../clients/client-kind.js';
import { mysql2, mysql2Promise } from '../clients/mysql2.js';
import { pg } from '../clients/pg.js';
import { SideBySide } from '../side-by-side.js';
import { targetsAmong } from '../typeorm/fixture.js';

/**
 * For each database one client: that of mysql2 with promises lends wrappers of the same
 * connections.
 */
const kinds = {
  sqlite: betterSqlite3,
  postgres: pg,
  mariadb: mysql2Promise,
  mysql: mysql2,
  mysql56: mysql2Promise,
};

const targets = targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56');
const opened: { dispose(): Promise<void> }[] = [];
const clients = new Map<string, TestClient>();
const stores = new Map<string, ConformanceCase[]>();

for (const { name } of targets) {
  const createStore = () => new SqlLockStore(clients.get(name)!.executor());
  const cases = lockStoreConformance(createStore, { rounds: 5 });
  stores.set(`SqlLockStore over ${kinds[name].name} on ${name}`, cases);
}

beforeAll(async () => {
  for (const { name, open } of targets) {
    const target = await open();
    opened.push(target);
    clients.set(name, await kinds[name].open(target, 10));
  }
});
afterAll(async () => {
  for (const client of clients.values()) await client.close();
  for (const target of opened) await target.dispose();
});

const sideBySide = new SideBySide(stores);
for (const [store, cases] of stores)
  describe(store, () => {
    for (const { name } of cases) it(`B90 ${name}`, () => sideBySide.keeps(store, name));
  });
