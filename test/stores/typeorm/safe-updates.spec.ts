import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import { Fixture, onEachConnection, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

for (const target of targetsAmong('mysql', 'mariadb', 'mysql56'))
  describe(`R7 ${target.name} with sql_safe_updates`, () => {
    let fixture: Fixture;
    let application: DataSource;
    let store: TypeOrmLockStore;

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
      await onEachConnection(application, 'SET SESSION sql_safe_updates = 1');
      store = new TypeOrmLockStore(application);
      await store.prepare();
    });
    afterAll(() => fixture.dispose());

    const settings = async (): Promise<unknown> => {
      const [session] = await application.query(
        'SELECT @@SESSION.sql_safe_updates AS safe, @@SESSION.innodb_lock_wait_timeout AS patience',
      );
      return session;
    };

    it.each([1, 120])(
      'R7 a purge and a renewal of %i keys work, and leave the setting as it was',
      async (many) => {
        const before = await settings();
        const prefix = newKey();
        const leases = Array.from({ length: many }, (_, i) => ({
          key: `${prefix}:${i}`,
          owner: 'owner',
          ttl: i % 3 === 0 ? 50_000 : 60_000,
        }));
        for (const { key, owner, ttl } of leases) tokenOf(await store.acquire(key, owner, ttl));
        expect(await store.renewMany?.(leases)).toEqual(leases.map(() => 'renewed'));
        for (const { key, owner } of leases) expect(await store.release(key, owner)).toBe(true);
        expect(await store.purge({ olderThan: 0, prefix })).toBe(many);
        expect(await settings()).toEqual(before);
      },
    );

    // Runs the conformance cases that together use every kind of statement that the store
    // sends.
    const statements = /renewMany|purge|releaseToWaiter|pause|force/i;
    const rules = lockStoreConformance(() => new TypeOrmLockStore(application), { rounds: 1 });
    for (const { name, run } of rules.filter((rule) => statements.test(rule.name))) it(name, run);
  });
