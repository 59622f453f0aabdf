import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { LockStore } from '../../../lib/interfaces/lock-store.interface.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import { Fixture, ISOLATION_LEVELS, setIsolation, sqlOf, targetsAmong } from './fixture.js';

const DAY = 86_400_000;
const NEVER = Number.MAX_SAFE_INTEGER;

/** A row of the lock table. Its times say how many milliseconds ago something happened. */
interface Row {
  key: string;
  owner?: string;
  expired?: number;
  renewed?: number | null;
  ended?: number | null;
  tick?: number;
  /** In microseconds. */
  token?: number;
  paused?: boolean;
}

for (const target of targetsAmong('sqlite', 'postgres', 'mysql', 'mariadb', 'mysql56'))
  describe(`purging the lock table of ${target.name}`, () => {
    let fixture: Fixture;
    let application: DataSource;
    let store: TypeOrmLockStore;
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
      store = new TypeOrmLockStore(application);
      await store.prepare();
    });
    afterAll(() => fixture.dispose());
    beforeEach(() => application.query('DELETE FROM locks'));

    const mysql = target.name.startsWith('m');
    const quoted = mysql ? '`key`' : 'key';
    const insert = async (rows: Row[]) => {
      const now = Date.now();
      const values = rows.map(
        ({ key, owner, expired, renewed = 30 * DAY, ended = null, tick, token, paused }) => {
          const ago = (ms: number | null = null) => (ms === null ? 'NULL' : now - ms);
          const free = expired === undefined;
          return `('${key}', ${owner ? `'${owner}'` : 'NULL'}, ${token ?? 1}, ${free ? 0 : ago(expired)}, ${ago(renewed)}, ${ago(ended)}, ${ago(tick)}, ${paused ?? false})`;
        },
      );
      await application.query(
        `INSERT INTO locks (${quoted}, owner, token, expires_ms, renewed_ms, last_ended_ms, tick_ms, paused) VALUES ${values.join()}`,
      );
    };
    // The row with the empty key is left out: on SQLite, it remembers tokens that were ahead
    // of the clock.
    const keys = async (): Promise<string[]> =>
      (await application.query(`SELECT ${quoted} FROM locks WHERE ${quoted} <> '' ORDER BY ${quoted}`)).map(
        (row: any) => String(row.key),
      );

    it('B72 a purge deletes a row only if all of its times are old enough, and never deletes a paused key', async () => {
      await insert([
        { key: 'old free', ended: 8 * DAY },
        { key: 'old and never ended' },
        { key: 'old without any time', renewed: null },
        { key: 'old expired', owner: 'o', expired: 8 * DAY },
        { key: 'old kept', expired: 8 * DAY, ended: 9 * DAY },
        { key: 'recently ended', ended: 6 * DAY },
        { key: 'recently renewed', renewed: 6 * DAY, ended: 8 * DAY },
        { key: 'recently expired', owner: 'o', expired: 6 * DAY },
        { key: 'recently kept', expired: 6 * DAY, ended: 9 * DAY },
        { key: 'old tick', ended: 8 * DAY, tick: 8 * DAY },
        { key: 'recent tick', ended: 8 * DAY, tick: 6 * DAY },
        { key: 'tick to come', ended: 8 * DAY, tick: -DAY },
        { key: 'held', owner: 'o', expired: -DAY },
        { key: 'endless', owner: 'o', expired: Date.now() - NEVER },
        { key: 'kept', expired: -DAY, ended: 8 * DAY },
        { key: 'paused', ended: 8 * DAY, paused: true },
      ]);
      expect(await store.purge({ olderThan: 7 * DAY })).toBe(6);
      const left = ['endless', 'held', 'kept', 'paused', 'tick to come'];
      const recent = ['ended', 'expired', 'kept', 'renewed'].map((end) => `recently ${end}`);
      expect(await keys()).toEqual([...left, ...recent, 'recent tick'].toSorted());
      expect(await store.purge({ olderThan: 0 })).toBe(5);
      expect(await keys()).toEqual(left);
    });

    it('B72 a purge keeps a key whose token is ahead of the clock, since the key would get a smaller token next', async () => {
      await insert([{ key: 'ahead', token: (Date.now() + DAY) * 1000 }, { key: 'behind' }]);
      expect(await store.purge({ olderThan: 0 })).toBe(1);
      expect(await keys()).toEqual(['ahead']);
    });

    it('B72 a purge of a large table deletes all unused rows with the prefix, and no other rows', async () => {
      const names = Array.from({ length: 1300 }, (_, i) => String(i).padStart(4, '0'));
      const isHeld = (name: string) => Number(name) % 3 === 0 || (name > '0200' && name < '0900');
      await insert(names.map((name) => ({ key: `b:${name}`, expired: isHeld(name) ? -DAY : 0 })));
      await insert([{ key: 'a:before' }, { key: 'b' }, { key: 'b;after' }, { key: 'c:after' }]);
      const held = names.filter(isHeld).map((name) => `b:${name}`);
      expect(await store.purge({ prefix: 'b:', olderThan: 0 })).toBe(names.length - held.length);
      expect(await keys()).toEqual(['a:before', 'b', ...held, 'b;after', 'c:after']);
      expect(await store.purge({ olderThan: 0 })).toBe(4);
      expect(await keys()).toEqual(held);
      expect(await store.purge({ prefix: 'b:9', olderThan: 0 })).toBe(0);
    });

    if (target.name === 'sqlite') return;

    // On MySQL 5, a purge waits up to two seconds for each locked row.
    it('B72 a purge skips rows that another session has locked, without waiting', async () => {
      await insert(Array.from({ length: 20 }, (_, i) => ({ key: String(i).padStart(2, '0') })));
      const runner = application.createQueryRunner();
      await runner.startTransaction('READ COMMITTED');
      const { lockRow, bytes } = sqlOf(target);
      try {
        for (const key of ['03', '19']) await runner.query(lockRow, [bytes(key)]);
        expect(await store.purge({ olderThan: 0 })).toBe(18);
      } finally {
        await runner.rollbackTransaction();
        await runner.release();
      }
      expect(await keys()).toEqual(['03', '19']);
      expect(await store.purge({ olderThan: 0 })).toBe(2);
    });

    describe.each(ISOLATION_LEVELS)('purging at the isolation level %s', (level) => {
      it('B72 a purge does not disturb operations on locks', async () => {
        const racing = await fixture.dataSource({ poolSize: 20 });
        await setIsolation(racing, level);
        for (const { name, run } of lockStoreConformance(() => new TypeOrmLockStore(racing), { rounds: 20 }))
          if (name.includes('while it is purged')) await run();
      });

      it('B72 new keys can be acquired while a purge runs', async () => {
        const racing = await fixture.dataSource();
        await setIsolation(racing, level);
        const other = new TypeOrmLockStore(racing);
        await insert(Array.from({ length: 3000 }, (_, i) => ({ key: `${i}` })));
        const over = new AbortController();
        const purge = other.purge({ olderThan: 60_000 }).finally(() => over.abort());
        for (let i = 0; !over.signal.aborted; i++) {
          const key = `${i * 7}:new`;
          await take(other, key);
          expect(await other.release(key, 'o')).toBe(true);
        }
        expect(await purge).toBe(3000);
      });
    });
  });

/**
 * Acquires a free key, and repeats the attempt: at the higher isolation levels, it may collide
 * with changes of neighbouring keys.
 */
async function take(store: LockStore, key: string): Promise<void> {
  for (;;) {
    const result = await store.acquire(key, 'o', 60_000);
    if (result.acquired) return;
    expect(result.reason).toBe('contention');
  }
}
