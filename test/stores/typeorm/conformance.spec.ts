import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { TypeOrmLockStore, type TypeOrmLockStoreOptions } from '../../../lib/stores/typeorm/index.js';
import { lockStoreConformance, type ConformanceCase } from '../../../lib/testing/index.js';
import type { Target } from '../../servers/targets.js';
import { SideBySide } from '../side-by-side.js';
import { targetsAmong } from './fixture.js';

const targets = targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56');
const opened: Target[] = [];
const applications = new Map<string, DataSource>();

beforeAll(async () => {
  for (const { name, open } of targets) {
    const target = await open();
    opened.push(target);
    applications.set(name, await new DataSource(target.options).initialize());
  }
});
afterAll(async () => {
  for (const application of applications.values()) await application.destroy();
  for (const target of opened) await target.dispose();
});

const stores = new Map<string, ConformanceCase[]>();
function conform(name: string, options: TypeOrmLockStoreOptions = {}): void {
  const [option] = Object.entries(options).map(([key, value]) => ` with ${key}: ${value}`);
  const createStore = () => new TypeOrmLockStore(applications.get(name)!, options);
  stores.set(`TypeOrmLockStore on ${name}${option ?? ''}`, lockStoreConformance(createStore, { rounds: 5 }));
}
for (const { name } of targets) {
  conform(name);
  if (name === 'postgres' || name === 'sqlite') conform(name, { weak: true });
  if (name === 'postgres') conform(name, { asyncRelease: true });
  // MySQL is left out, because its statements have the same values in the same order as those
  // of MariaDB.
  if (name === 'postgres' || name === 'mariadb') conform(name, { preparedStatements: false });
}

const sideBySide = new SideBySide(stores);
for (const [store, cases] of stores)
  describe(store, () => {
    for (const { name } of cases) it(name, () => sideBySide.keeps(store, name));
  });
