import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { LockAcquireResult } from '../../../lib/interfaces/lock-store.interface.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';
import { Database, recordingDriver } from './sqlite-driver.js';

const TTL = 60_000;
const MANY = 20;

for (const target of targetsAmong('sqlite'))
  describe('batches of one turn of the event loop on SQLite', () => {
    let fixture: Fixture;
    let application: DataSource;
    let store: TypeOrmLockStore;
    /** A connection to the same file, as another process would have it. */
    let other: any;
    let keys: string[];
    const statements: string[] = [];
    /** What the test does in the middle of each statement that writes a lock. */
    let meanwhile: () => void;

    const Driver = recordingDriver(statements, (connection) =>
      connection.function('meanwhile', () => (meanwhile(), 0)),
    );
    const verbs = () => statements.map((sql) => sql.trim().slice(0, 6));

    beforeEach(async () => {
      meanwhile = () => undefined;
      keys = Array.from({ length: MANY }, newKey);
      fixture = await Fixture.open(target);
      application = await fixture.dataSource({ driver: Driver });
      store = new TypeOrmLockStore(application);
      await store.prepare();
      other = new Database(fixture.target.options.database, { timeout: 0 });
      statements.length = 0;
    });
    afterEach(async () => {
      other.close();
      await store.close();
      await fixture.dispose();
    });

    const acquireAll = (timeout?: number): Promise<LockAcquireResult[]> =>
      Promise.all(keys.map((key) => store.acquire(key, `of ${key}`, TTL, { timeout })));
    const releaseAll = () => Promise.all(keys.map((key) => store.release(key, `of ${key}`)));
    const held = (): number =>
      other.prepare('SELECT count(*) AS held FROM locks WHERE owner IS NOT NULL').get().held;

    it('B93 one statement carries out a batch, so that another connection sees either all of its locks or no lock', async () => {
      await application.query(
        'CREATE TRIGGER look AFTER UPDATE OF owner ON locks BEGIN SELECT meanwhile(); END',
      );
      (await acquireAll()).map(tokenOf);
      // The first request is sent alone, and the others share a statement.
      expect(verbs().slice(-4)).toEqual(['SELECT', 'INSERT', 'SELECT', 'INSERT']);
      const seen: number[] = [];
      meanwhile = () => seen.push(held());
      statements.length = 0;
      expect(await releaseAll()).toEqual(keys.map(() => true));
      expect(verbs()).toEqual(['UPDATE', 'UPDATE']);
      expect(seen).toEqual([MANY, ...Array.from({ length: MANY - 1 }, () => MANY - 1)]);
      expect(held()).toBe(0);
    });

    it('B93 each request of a batch gets its own result: a token, the holder of the key, or the loss of its lease', async () => {
      const before = (await acquireAll()).map(tokenOf);
      const refused = await Promise.all(keys.map((key) => store.acquire(key, 'another', TTL)));
      expect(refused.map((result) => !result.acquired && result.holder?.key)).toEqual(keys);
      await store.forceRelease(keys[7]!);
      await store.pause(keys[8]!);
      expect(await releaseAll()).toEqual(keys.map((_, i) => i !== 7));
      const after = await acquireAll();
      expect(after[8]).toEqual({ acquired: false, reason: 'paused' });
      after.forEach((result, i) => i === 8 || expect(tokenOf(result)).toBeGreaterThan(before[i]!));
      expect(await store.inspect(keys[9]!)).toMatchObject({ lastRun: { outcome: 'done' } });
    });

    it('B93 a batch waits while another process writes to the file, and then gets all of its locks', async () => {
      other.exec('BEGIN IMMEDIATE');
      const acquisitions = acquireAll();
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(held()).toBe(0);
      other.exec('COMMIT');
      (await acquisitions).map(tokenOf);
      expect(held()).toBe(MANY);
    });

    it('B93 each request of a batch inside an open transaction of the application fails, and the error names the next step', async () => {
      await application.query('BEGIN IMMEDIATE');
      const results = await Promise.allSettled(
        keys.map((key) => store.acquire(key, 'o', TTL, { timeout: 400 })),
      );
      await application.query('ROLLBACK');
      for (const result of results)
        expect(result).toMatchObject({
          reason: {
            transient: true,
            message: expect.stringMatching(/Acquire the lock before the transaction/),
          },
        });
      expect(held()).toBe(0);
    });

    it('B93 the requests of a batch are carried out one by one after their statement has failed because of one of them', async () => {
      const bad = keys[10]!;
      await application.query(
        `CREATE TRIGGER bad BEFORE INSERT ON locks WHEN NEW.key = '${bad}' BEGIN SELECT RAISE(ABORT, 'no'); END`,
      );
      await application.query(
        `CREATE TRIGGER bad_end BEFORE UPDATE ON locks WHEN NEW.key = '${keys[5]}' BEGIN SELECT RAISE(ABORT, 'no'); END`,
      );
      const results = await Promise.allSettled(keys.map((key) => store.acquire(key, `of ${key}`, TTL)));
      results.forEach((result, i) => {
        if (i === 10) expect(result).toMatchObject({ reason: { message: expect.stringContaining(bad) } });
        else expect(result).toMatchObject({ value: { acquired: true } });
      });
      const ends = await Promise.allSettled(keys.map((key) => store.release(key, `of ${key}`)));
      expect(ends.map((end) => end.status === 'fulfilled' && end.value)).toEqual(
        keys.map((_, i) => i !== 5 && i !== 10),
      );
      expect(held()).toBe(1);
    });

    it('B93 after a lock table has been created again, a batch grants only keys that have a row already', async () => {
      await store.acquire(keys[3]!, 'o', TTL);
      await store.release(keys[3]!, 'o');
      const now = Date.now();
      await application.query(
        `INSERT INTO locks (key, token, expires_ms, label, started_ms, renewed_ms) VALUES ('', 0, ${now + TTL}, 'made again', ${now}, ${now})`,
      );
      const results = await acquireAll();
      expect(results.map(({ acquired }) => acquired)).toEqual(keys.map((_, i) => i === 3));
      expect(results[4]).toMatchObject({ reason: 'held', holder: { key: keys[4], fencingToken: 0 } });
    });
  });
