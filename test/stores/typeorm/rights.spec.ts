import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { newKey, tokenOf } from '../keys.js';
import { Fixture, targetsAmong } from './fixture.js';

const NAME = () => `u_${newKey().replaceAll('-', '_')}`;

for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe(`missing rights at start on ${target.name}`, () => {
    const postgres = target.name === 'postgres';
    let fixture: Fixture;
    let admin: DataSource;
    const users: string[] = [];

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      admin = await fixture.dataSource();
      await new TypeOrmLockStore(admin).prepare();
      if (postgres) await admin.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC');
    });
    afterAll(async () => {
      for (const user of users)
        if (postgres) {
          await admin.query(`DROP OWNED BY ${user}`);
          await admin.query(`DROP ROLE ${user}`);
        } else await admin.query(`DROP USER '${user}'@'127.0.0.1'`);
      await fixture.dispose();
    });

    /** Opens a DataSource for a user with only these rights. */
    const userWith = async (rights: string, table = 'locks') => {
      const user = NAME().slice(0, 16);
      users.push(user);
      if (postgres) {
        await admin.query(`CREATE ROLE ${user} LOGIN PASSWORD 'plain'`);
        await admin.query(`GRANT ${rights} ON ${table} TO ${user}`);
      } else {
        await admin.query(`CREATE USER '${user}'@'127.0.0.1' IDENTIFIED BY 'plain'`);
        await admin.query(
          `GRANT ${rights} ON ${String(admin.options.database)}.${table} TO '${user}'@'127.0.0.1'`,
        );
      }
      return fixture.dataSource({ username: user, password: 'plain' });
    };
    const rows = async () => admin.query('SELECT * FROM locks');

    it.each(['SELECT', 'SELECT, INSERT', 'SELECT, UPDATE'])(
      'R10 a user with only the right %s is refused, and the error names the missing right',
      async (rights) => {
        const start = new TypeOrmLockStore(await userWith(rights)).prepare();
        await expect(start).rejects.toMatchObject({
          name: 'LockStoreError',
          transient: false,
          message: expect.stringMatching(
            /A right for the table .*locks is missing: .*denied.*need SELECT, INSERT and UPDATE/,
          ),
        });
      },
    );

    it('R10 a user with the rights SELECT, INSERT and UPDATE can start a store, and the check of the rights leaves no row', async () => {
      const store = new TypeOrmLockStore(await userWith('SELECT, INSERT, UPDATE'));
      await store.prepare();
      expect(await rows()).toEqual([]);
      tokenOf(await store.acquire('k', 'o', 60_000));
      expect(await store.release('k', 'o')).toBe(true);
    });

    it('R10 the checks of instances that start at once do not disturb each other', async () => {
      const dataSources = await Promise.all(
        Array.from({ length: 8 }, () => fixture.dataSource({ poolSize: 2 })),
      );
      await Promise.all(
        dataSources.flatMap((dataSource) => [0, 1].map(() => new TypeOrmLockStore(dataSource).prepare())),
      );
      await Promise.all(dataSources.map((dataSource) => dataSource.destroy()));
    });

    if (postgres) {
      it('R10 the start fails for a user who cannot change rows because of row-level security', async () => {
        await new TypeOrmLockStore(admin, { table: 'secured' }).prepare();
        await admin.query('ALTER TABLE secured ENABLE ROW LEVEL SECURITY');
        await admin.query('CREATE POLICY reading ON secured FOR SELECT USING (true)');
        const own = await userWith('SELECT, INSERT, UPDATE', 'secured');
        const start = () => new TypeOrmLockStore(own, { table: 'secured' }).prepare();
        await expect(start()).rejects.toThrow(/row-level security/i);
        await admin.query('CREATE POLICY adding ON secured FOR INSERT WITH CHECK (true)');
        await expect(start()).rejects.toThrow(
          /Row-level security of the table public\.secured .*policy for UPDATE/,
        );
        await admin.query('CREATE POLICY changing ON secured FOR UPDATE USING (true)');
        await start();
      });

      it('R10 a start on a read-only server fails with a transient error that names the cause', async () => {
        const own = await fixture.dataSource({ extra: { options: '-c default_transaction_read_only=on' } });
        await expect(new TypeOrmLockStore(own).prepare()).rejects.toMatchObject({
          name: 'LockStoreError',
          transient: true,
          message: expect.stringMatching(/read-only/),
        });
      });
    }
  });

for (const target of targetsAmong('sqlite'))
  it('R10 a SQLite file that cannot be written is refused at start', async () => {
    const fixture = await Fixture.open(target);
    await (await fixture.store()).close();
    const prepareDatabase = (connection: { pragma(sql: string): void }) =>
      connection.pragma('query_only = ON');
    const readOnly = await fixture.dataSource({ prepareDatabase });
    await expect(new TypeOrmLockStore(readOnly).prepare()).rejects.toMatchObject({
      name: 'LockStoreError',
      message: expect.stringMatching(
        /A right for the table .*locks is missing: .*readonly.*write the file and its folder/,
      ),
    });
    await fixture.dispose();
  });
