import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { SqlLockStore } from '../../../lib/stores/sql/index.js';
import { lockStoreConformance, type ConformanceCase } from '../../../lib/testing/index.js';
import { betterSqlite3 } from '../clients/better-sqlite3.js';
import type { ClientKind, TestClient } from '../clients/client-kind.js';
import type { SqlStore } from '../../servers/targets.js';
import { mysql2, mysql2Promise } from '../clients/mysql2.js';
import { pg } from '../clients/pg.js';
import { SideBySide } from '../side-by-side.js';
import { targetsAmong } from '../typeorm/fixture.js';

/**
 * One client for each database: the pool of mysql2 with promises sends everything through the
 * same connections as the pool with callbacks.
 */
const kinds = {
  sqlite: betterSqlite3,
  postgres: pg,
  mariadb: mysql2Promise,
  mysql: mysql2,
  mysql56: mysql2Promise,
} satisfies Partial<Record<SqlStore, ClientKind>>;

type Name = keyof typeof kinds;
const targets = targetsAmong(...(Object.keys(kinds) as Name[]));
const opened: { dispose(): Promise<void> }[] = [];
const clients = new Map<string, TestClient>();
const stores = new Map<string, ConformanceCase[]>();

for (const { name } of targets) {
  const createStore = () => new SqlLockStore(clients.get(name)!.executor());
  const cases = lockStoreConformance(createStore, { rounds: 5 });
  stores.set(`SqlLockStore over ${kinds[name as Name].name} on ${name}`, cases);
}

beforeAll(async () => {
  for (const { name, open } of targets) {
    const target = await open();
    opened.push(target);
    clients.set(name, await kinds[name as Name].open(target, 10));
  }
});
afterAll(async () => {
  for (const client of clients.values()) await client.close();
  for (const target of opened) await target.dispose();
});

const sideBySide = new SideBySide(stores);
for (const [store, cases] of stores)
  describe(store, () => {
    for (const { name } of cases) it(name, () => sideBySide.keeps(store, name));
  });
