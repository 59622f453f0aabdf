import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { newKey, tokenOf } from '../keys.js';
import { Fixture, onEachConnection, targetsAmong } from './fixture.js';

const TTL = 60_000;

/** Starts a store and returns its warnings. */
async function warningsOn(dataSource: DataSource, options = {}): Promise<string[]> {
  const store = new TypeOrmLockStore(dataSource, options);
  const warnings: string[] = [];
  store.onWarning((_, message) => warnings.push(message));
  await store.prepare();
  await store.close();
  return warnings;
}

for (const target of targetsAmong('postgres'))
  describe('commits on a PostgreSQL that does not wait for its disk', () => {
    let fixture: Fixture;
    beforeAll(async () => {
      fixture = await Fixture.open(target);
    });
    afterAll(() => fixture.dispose());

    /**
     * Returns for each operation whether its commit waits for the disk, when the application's
     * sessions have this setting of `synchronous_commit`.
     */
    const waitsWith = async (setting: string, options: { table: string; weak?: boolean }) => {
      const application = await fixture.dataSource();
      const store = new TypeOrmLockStore(application, { wakeUps: false, ...options });
      await store.prepare();
      const { table } = options;
      await application.query(`CREATE TABLE ${table}_seen (waits text)`);
      await application.query(
        `CREATE FUNCTION ${table}_see() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO ${table}_seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$`,
      );
      await application.query(
        `CREATE CONSTRAINT TRIGGER seeing AFTER INSERT OR UPDATE ON ${table} DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION ${table}_see()`,
      );
      const key = newKey();
      const waits: Record<string, string[]> = {};
      const see = async (name: string, operation: () => Promise<unknown>) => {
        await application.query(`DELETE FROM ${table}_seen`);
        await operation();
        const rows = await application.query(`SELECT waits FROM ${table}_seen`);
        waits[name] = rows.map((row: { waits: string }) => row.waits);
      };
      await onEachConnection(application, `SET synchronous_commit = ${setting}`);
      await see('new', () => store.acquire(key, 'one', TTL));
      await see('again', () => store.acquire(key, 'one', TTL, { resend: true }));
      await see('renew', () => store.renew(key, 'one', TTL));
      await see('renewMany', () => store.renewMany([{ key, owner: 'one', ttl: TTL }]));
      await see('releaseToWaiter', () => store.releaseToWaiter(key, 'one', { owner: 'two', ttl: TTL }));
      await see('release', () => store.release(key, 'two'));
      await see('free', () => store.acquire(key, 'three', TTL));
      await see('keep', () => store.release(key, 'three', { keepFor: 10 }));
      await see('pauseNew', () => store.pause(`${key}-paused`));
      await see('resume', () => store.resume(`${key}-paused`));
      await see('pause', () => store.pause(`${key}-paused`));
      const sessions = Array.from({ length: 5 }, () => application.query('SHOW synchronous_commit'));
      waits.left = (await Promise.all(sessions)).flat().map((row) => row.synchronous_commit);
      await store.close();
      return waits;
    };
    const all = (durable: string, other: string) => ({
      ...Object.fromEntries(
        ['new', 'again', 'renew', 'renewMany', 'releaseToWaiter', 'free', 'keep', 'pauseNew', 'pause'].map(
          (name) => [name, [durable]],
        ),
      ),
      release: [other],
      resume: [other],
      left: Array.from({ length: 5 }, () => other),
    });

    it('B85 changes that could admit a second holder wait for the disk despite synchronous_commit = off', async () => {
      expect(await waitsWith('off', { table: 'set_off' })).toEqual(all('on', 'off'));
    });

    it.each(['local', 'remote_write', 'on', 'remote_apply'])(
      'A4 a session with synchronous_commit = %s keeps its setting',
      async (setting) => {
        expect(await waitsWith(setting, { table: `set_${setting}` })).toEqual(all(setting, setting));
      },
    );

    it('A4 weak locks do not wait for the disk', async () => {
      expect(await waitsWith('off', { table: 'set_weak', weak: true })).toEqual(all('off', 'off'));
    });

    it('A4 a grant survives a crash although the database or the session does not wait for its disk', async () => {
      const withoutTypes: string = '../../servers/postgres.mjs';
      // A longer wal_writer_delay keeps the server from writing its log before the crash.
      const server = await (await import(withoutTypes)).start({ 'wal-writer-delay': '10s' });
      let own: DataSource | undefined;
      const connect = () => new DataSource({ type: 'postgres', url: server.url, poolSize: 1 }).initialize();
      const crash = async () => {
        await server.crash();
        await own?.destroy().catch(() => {});
        await server.restart();
        own = await connect();
        return new TypeOrmLockStore(own);
      };
      try {
        own = await connect();
        await new TypeOrmLockStore(own).prepare();
        await own.query('SET synchronous_commit = off');
        const token = tokenOf(await new TypeOrmLockStore(own).acquire('set-later', 'one', TTL));
        let store = await crash();
        expect(await store.inspect('set-later')).toMatchObject({ holder: { fencingToken: token } });
        await own.query('ALTER DATABASE app SET synchronous_commit = off');
        await own.destroy();

        own = await connect();
        store = new TypeOrmLockStore(own);
        const next = tokenOf(await store.releaseToWaiter('set-later', 'one', { owner: 'two', ttl: TTL }));
        store = await crash();
        expect(await store.inspect('set-later')).toMatchObject({ holder: { fencingToken: next } });
      } finally {
        await own?.destroy().catch(() => {});
        await server.stop();
      }
    });

    it('B85 a start with fsync or full_page_writes off warns, and names the risk', async () => {
      const withoutTypes: string = '../../servers/postgres.mjs';
      const server = await (await import(withoutTypes)).start({ fsync: 'off', 'full-page-writes': 'off' });
      const own = await new DataSource({ type: 'postgres', url: server.url }).initialize();
      try {
        expect(await warningsOn(own)).toEqual([
          expect.stringMatching(/fsync and full_page_writes set to off.*another instance then gets a lock/),
        ]);
        expect(await warningsOn(own, { weak: true })).toEqual([]);
      } finally {
        await own.destroy();
        await server.stop();
      }
      expect(await warningsOn(await fixture.dataSource())).toEqual([]);
    });
  });

for (const target of targetsAmong('mysql', 'mariadb', 'mysql56'))
  describe(`commits on a ${target.name} that does not wait for its disk`, () => {
    let fixture: Fixture;
    let application: DataSource;
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
    });
    afterAll(() => fixture.dispose());

    const warningsWith = async (variable: string, value: number) => {
      const [{ before }] = await application.query(`SELECT @@GLOBAL.${variable} AS \`before\``);
      await application.query(`SET GLOBAL ${variable} = ${value}`);
      try {
        return await warningsOn(application);
      } finally {
        await application.query(`SET GLOBAL ${variable} = ${before}`);
      }
    };

    it.each([
      [0, 'the server'],
      [2, 'the machine'],
    ])('B85 a start with innodb_flush_log_at_trx_commit = %i warns', async (value, crash) => {
      const warnings = await warningsWith('innodb_flush_log_at_trx_commit', value);
      const rule = `innodb_flush_log_at_trx_commit = ${value}.*crash of ${crash} undoes the grants.*set innodb_flush_log_at_trx_commit = 1`;
      expect(warnings).toEqual([expect.stringMatching(new RegExp(rule))]);
    });

    it('B85 a start with sync_binlog = 0 warns if the server has a binary log', async () => {
      const [{ binlog }] = await application.query('SELECT @@GLOBAL.log_bin AS binlog');
      const warned =
        Number(binlog) === 1 ? [expect.stringMatching(/sync_binlog = 0.*set sync_binlog = 1/)] : [];
      expect(await warningsWith('sync_binlog', 0)).toEqual(warned);
      expect(await warningsWith('sync_binlog', 1)).toEqual([]);
    });
  });
