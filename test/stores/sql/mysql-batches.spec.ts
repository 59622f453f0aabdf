import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EventEmitter, once } from 'node:events';
import { createPool } from 'mysql2/promise';
import { fromMysql2, SqlLockStore } from '../../../lib/stores/sql/index.js';
import { createTable } from '../../../lib/stores/sql/lock-table.ddl.js';
import type { Run, SqlAcquireRequest } from '../../../lib/stores/sql/lock-statements.js';
import { MysqlLocks } from '../../../lib/stores/sql/mysql/mysql-locks.js';
import { Mysql2Driver } from '../../../lib/stores/sql/mysql/mysql2-driver.js';
import { leaseRequestOf, releaseOf } from '../../../lib/stores/shared/requests.js';
import { Fixture, targetsAmong } from '../typeorm/fixture.js';
import { newKey } from '../keys.js';

const TTL = 60_000;
const LONGEST = 60_000;
const ignore = () => {};

for (const target of targetsAmong('mysql', 'mariadb')) {
  const mariadb = target.name === 'mariadb';
  const { batches } = new MysqlLocks('locks', { mariadb, skipsLocked: true, logsStatements: false });
  if (!batches) throw new Error('These servers batch.');

  describe(`requests that share a statement on ${target.name}`, () => {
    let fixture: Fixture;
    const sessions: (() => Promise<void>)[] = [];
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      const application = await fixture.dataSource();
      await application.query(createTable('mysql', { table: 'locks', weak: false }));
    });
    afterAll(async () => {
      for (const end of sessions) await end();
      await fixture.dispose();
    });

    /** Opens a connection of its own with these options, and runs the statements on it. */
    async function session(settings: object = {}, ...statements: string[]): Promise<Run> {
      const { port, host, username, password, database } = fixture.target.options as any;
      const pool = createPool({ host, port, user: username, password, database, ...settings });
      sessions.push(() => pool.end());
      const connection = (await pool.getConnection()).connection as any;
      const driver = new Mysql2Driver();
      const run: Run = (sql, values) => driver.send(connection, sql, values);
      for (const statement of statements) await run(statement);
      return run;
    }

    /** Returns acquisitions of these keys by one owner, in the order of the keys. */
    function requests(keys: readonly string[], owner: string, label = 'me'): SqlAcquireRequest[] {
      return keys.map((key) => ({
        ...leaseRequestOf(key, `${owner}-${key}`, TTL, { label }),
        ignored: null,
        longest: LONGEST,
      }));
    }

    const releases = (keys: readonly string[], owner: string) =>
      keys.map((key) => releaseOf(key, `${owner}-${key}`, {}));
    const newKeys = (count: number) => Array.from({ length: count }, () => newKey()).toSorted();

    it.each([
      ['ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES', 'latin1_swedish_ci'],
      ['', 'utf8mb4_unicode_ci'],
      ...(mariadb
        ? [
            ['SIMULTANEOUS_ASSIGNMENT', 'latin1_swedish_ci'],
            ['ORACLE,EMPTY_STRING_IS_NULL', 'utf8mb4_unicode_ci'],
          ]
        : []),
    ])(
      'B93 a batch keeps every character and the data of the last run in the SQL mode "%s" on a %s connection',
      async (mode, charset) => {
        const run = await session(
          { charset },
          `SET SESSION sql_mode = '${mode}', SESSION sql_safe_updates = 1, SESSION sql_select_limit = 1`,
        );
        const keys = [`Käse-🧀-${newKey()}`, `'"\\\`?:x-${newKey()}`, `${newKey()} `].toSorted();
        const first = await batches.acquire(run, requests(keys, 'ß', 'Wörker 🔒 \\'), ignore);
        expect(first).toEqual(keys.map(() => ({ acquired: true, fencingToken: expect.any(Number) })));
        const refused = await batches.acquire(run, requests(keys, 'two'), ignore);
        expect(refused).toEqual(
          keys.map((key) => ({
            acquired: false,
            reason: 'held',
            holder: expect.objectContaining({ key, label: 'Wörker 🔒 \\' }),
          })),
        );
        expect(await batches.release(run, releases(keys, 'ß'))).toEqual(['done', 'done', 'done']);
        const second = await batches.acquire(run, requests(keys, 'three', ''), ignore);
        const store = await fixture.store();
        for (const [i, key] of keys.entries()) {
          const { fencingToken = 0 } = first[i] as { fencingToken?: number };
          const state = await store.inspect(key);
          expect(state).toMatchObject({
            state: 'held',
            holder: { label: '', remaining: expect.any(Number) },
            lastRun: { label: 'Wörker 🔒 \\', outcome: 'done' },
          });
          expect(second[i]).toEqual({ acquired: true, fencingToken: expect.any(Number) });
          expect((second[i] as { fencingToken: number }).fencingToken).toBeGreaterThan(fencingToken);
        }
      },
    );

    it.each(['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'])(
      'B93 a batch at %s refuses a guarded key, a key with a locked row and held keys, and grants all others',
      async (level) => {
        const run = await session({}, `SET SESSION TRANSACTION ISOLATION LEVEL ${level}`);
        const [lead = '', guarded = '', locked = '', held = '', late = ''] = newKeys(5);
        const keys = [lead, guarded, locked, held, late];
        await batches.acquire(run, requests(keys.slice(1, 4), 'before'), ignore);
        const stranger = await session({}, 'BEGIN');
        await batches.release(run, releases([guarded, locked], 'before'));
        await stranger(`SELECT 1 FROM locks WHERE \`key\` = '${guarded}' LOCK IN SHARE MODE`);
        await stranger(`SELECT 1 FROM locks WHERE \`key\` = '${locked}' FOR UPDATE`);
        for (let round = 0; round < 3; round++) {
          const granted = { acquired: true, fencingToken: expect.any(Number) };
          const contention = { acquired: false, reason: 'contention' };
          expect(await batches.acquire(run, requests(keys, 'me'), ignore)).toEqual([
            granted,
            contention,
            contention,
            expect.objectContaining({ reason: 'held' }),
            granted,
          ]);
          const results = await batches.release(run, releases(keys, 'me'));
          expect(results).toEqual(['done', undefined, undefined, undefined, 'done']);
        }
        await stranger('ROLLBACK');
      },
    );

    it('B93 if a replica does not show an outcome yet, the outcome is left open and never reported as refused', async () => {
      const writer = await session();
      const held = await session({}, 'BEGIN');
      const keys = newKeys(4);
      const [first = '', second = '', third = '', missing = ''] = keys;
      await batches.acquire(writer, requests(keys.slice(0, 3), 'before'), ignore);
      await batches.release(writer, releases([second, third], 'before'));
      // This snapshot stands for a replica that is behind: later writes do not show in it.
      const replica = await session({}, 'START TRANSACTION WITH CONSISTENT SNAPSHOT');
      const proxied: Run = (sql, values) => (/^\s*SELECT/.test(sql) ? replica : writer)(sql, values);

      await held(`SELECT 1 FROM locks WHERE \`key\` = '${third}' FOR UPDATE`);
      const acquired = await batches.acquire(proxied, requests(keys, 'me'), ignore);
      expect(acquired).toEqual([undefined, undefined, undefined, undefined]);
      await held('COMMIT');
      const repeated = await batches.acquire(writer, requests([third, missing], 'me'), ignore);
      expect(repeated).toEqual([
        { acquired: true, fencingToken: expect.any(Number) },
        { acquired: true, fencingToken: expect.any(Number) },
      ]);

      const released = await batches.release(proxied, releases([first, second, third], 'me'));
      expect(released).toEqual(['doubtful', 'doubtful', 'doubtful']);
      const all = await batches.acquire(writer, requests([second, third], 'next'), ignore);
      expect(all.every((result) => result?.acquired)).toBe(true);
    });

    it('B93 an expired lease is not released, but the other leases of its batch are released', async () => {
      const run = await session();
      const keys = newKeys(3);
      const [, ended = ''] = keys;
      await batches.acquire(run, requests(keys, 'me'), ignore);
      await run(`UPDATE locks SET expires_ms = 1 WHERE \`key\` = '${ended}'`);
      expect(await batches.release(run, releases(keys, 'me'))).toEqual(['done', undefined, 'done']);
      await batches.acquire(run, requests(keys, 'me'), ignore);
      await run(`UPDATE locks SET expires_ms = 1 WHERE \`key\` = '${ended}'`);
      await batches.acquire(run, requests([ended], 'thief'), ignore);
      expect(await batches.release(run, releases(keys, 'me'))).toEqual(['done', undefined, 'done']);
      expect(await batches.release(run, releases([ended], 'thief'))).toEqual(['done']);
    });

    it('B93 a release that the server does not confirm is reported as doubtful', async () => {
      const run = await session();
      const keys = newKeys(2);
      await batches.acquire(run, requests(keys.slice(0, 1), 'me'), ignore);
      const refusing: Run = (sql, values) =>
        run(/^\s*SELECT/.test(sql) ? 'SELECT missing FROM locks' : sql, values);
      expect(await batches.release(refusing, releases(keys, 'me'))).toEqual(['doubtful', 'doubtful']);
    });

    it('B93 keys that have a row do not wait while another session inserts a new key of the same batch', async () => {
      const run = await session();
      const keys = newKeys(3);
      await batches.acquire(run, requests(keys.slice(0, 1), 'me'), ignore);
      await batches.release(run, releases(keys.slice(0, 1), 'me'));
      const stranger = await session({}, 'BEGIN');
      await stranger(`INSERT INTO locks (\`key\`, token, expires_ms) VALUES ('${keys[1]}', 1, 0)`);
      const granted = { acquired: true, fencingToken: expect.any(Number) };
      const early = new EventEmitter();
      const first = once(early, 'settled');
      const all = batches.acquire(run, requests(keys, 'me'), (...settled) =>
        early.emit('settled', ...settled),
      );
      expect(await Promise.race([first, all])).toEqual([0, granted]);
      await stranger('ROLLBACK');
      expect((await all)[0]).toEqual(granted);
    });

    it('B93 a batch refuses a held key even to its own owner, and gives no result for a key whose token is ahead of the clock', async () => {
      const run = await session();
      const keys = newKeys(3);
      const [own = '', ahead = '', free = ''] = keys;
      await batches.acquire(run, requests([own, ahead], 'me'), ignore);
      await batches.release(run, releases([ahead], 'me'));
      await run(`UPDATE locks SET token = token + 60000000 WHERE \`key\` = '${ahead}'`);
      expect(await batches.acquire(run, requests(keys, 'me'), ignore)).toEqual([
        expect.objectContaining({ reason: 'held' }),
        undefined,
        { acquired: true, fencingToken: expect.any(Number) },
      ]);
      expect(await batches.release(run, releases([free], 'me'))).toEqual(['done']);
    });

    it('B83 a session with a clock that the application has set grants, refuses and releases nothing', async () => {
      const run = await session();
      const set = await session({}, "SET timestamp = UNIX_TIMESTAMP('2000-01-01')");
      const keys = newKeys(3);
      const [first = '', second = ''] = keys;
      await expect(batches.acquire(set, requests(keys, 'me'), ignore)).rejects.toThrow(
        'a clock that was set',
      );
      await batches.acquire(run, requests([first, second], 'me'), ignore);
      expect(await batches.release(set, releases([first, second], 'me'))).toEqual([undefined, undefined]);
      expect(await batches.release(run, releases([first, second], 'me'))).toEqual(['done', 'done']);
    });

    it('B93 a batch grants no key in the grace period of a table that was created again', async () => {
      const run = await session();
      const locks = new MysqlLocks('fresh', { mariadb, skipsLocked: true, logsStatements: false });
      await run(createTable('mysql', { table: 'fresh', weak: false }));
      await run(locks.gracePeriod('fresh', LONGEST));
      const keys = newKeys(2);
      const refused = expect.objectContaining({ acquired: false, reason: 'held' });
      expect(await locks.batches?.acquire(run, requests(keys, 'me'), ignore)).toEqual([refused, refused]);
      await run('UPDATE fresh SET started_ms = 1, expires_ms = 1');
      const results = await locks.batches?.acquire(run, requests(keys, 'me'), ignore);
      expect(results?.map((result) => result?.acquired)).toEqual([true, true]);
    });

    it('B93 batches of the same keys in different orders never deadlock, and each key has one holder', async () => {
      const DEADLOCK = 1213;
      const errors: { errno?: number }[] = [];
      const { port, host, username, password, database } = fixture.target.options as any;
      const stores = Array.from({ length: 2 }, () => {
        const pool = createPool({ host, port, user: username, password, database, connectionLimit: 4 });
        sessions.push(() => pool.end());
        (pool as any).on('connection', (connection: any) => {
          const execute = connection.execute.bind(connection);
          connection.execute = (sql: string, values: unknown, done: (...args: unknown[]) => void) =>
            execute(sql, values, (error: { errno?: number } | null, ...results: unknown[]) => {
              if (error) errors.push(error);
              done(error, ...results);
            });
        });
        return new SqlLockStore(fromMysql2(pool));
      });
      for (let round = 0; round < 3; round++) {
        const old = newKeys(250);
        const [one, other] = stores as [SqlLockStore<any>, SqlLockStore<any>];
        await Promise.all(old.map((key) => one.acquire(key, 'before', TTL)));
        await Promise.all(old.map((key) => one.release(key, 'before')));
        const keys = [...old, ...newKeys(250)];
        const orders = [keys, keys.toReversed()];
        const results = await Promise.all(
          [one, other].map((store, i) =>
            Promise.all((orders[i] ?? []).map((key) => store.acquire(key, `${i}-${key}`, TTL))),
          ),
        );
        const holders = new Map<string, number>();
        for (const [i, granted] of results.entries())
          for (const [k, { acquired }] of granted.entries()) {
            const key = orders[i]?.[k] ?? '';
            if (!acquired) continue;
            expect(holders.has(key)).toBe(false);
            holders.set(key, i);
          }
        expect(holders.size).toBe(keys.length);
        const releasing = [...holders].map(async ([key, i]) => stores[i]?.release(key, `${i}-${key}`));
        expect(new Set(await Promise.all(releasing))).toEqual(new Set([true]));
      }
      expect(errors.filter(({ errno }) => errno === DEADLOCK)).toEqual([]);
    });
  });
}
