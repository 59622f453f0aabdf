import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { LockError, LockStoreError } from '../../../lib/lock.errors.js';
import { SqlLockStore } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { newKey, tokenOf } from '../keys.js';
import { targetsAmong } from '../typeorm/fixture.js';
import type { TestClient } from './client-kind.js';
import { drizzle } from './drizzle.js';
import { knex } from './knex.js';

const TTL = 60_000;
/** The pool is small, so that a test can leave all of its connections dirty. */
const POOL_SIZE = 2;

for (const kind of [drizzle, knex])
  for (const { name, open } of targetsAmong('postgres', 'mariadb', 'mysql', 'sqlite'))
    describe(`transaction objects of ${kind.name} on ${name}`, () => {
      if (name === 'sqlite' && kind === drizzle)
        return it('B91 lock.transaction() is refused on better-sqlite3, whose transactions are synchronous', async () => {
          const target = await open();
          const client = await kind.open(target);
          const store = new SqlLockStore(client.executor());
          await expect(store.transaction(async () => {})).rejects.toThrow(
            /transactions of Drizzle are synchronous/,
          );
          await store.close();
          await client.close();
          await target.dispose();
        });

      let target: Target;
      let client: TestClient;
      let store: SqlLockStore;
      /** The client of another application, whose transactions the guard has to refuse. */
      let other: TestClient;
      let key: string;
      let token: number;
      beforeAll(async () => {
        target = await open();
        client = await kind.open(target, POOL_SIZE);
        other = await kind.open(target);
        store = new SqlLockStore(client.executor());
        await store.prepare();
        await client.query('CREATE TABLE writes (name varchar(64) PRIMARY KEY)');
      });
      beforeEach(async () => {
        key = newKey();
        token = tokenOf(await store.acquire(key, 'holder', TTL));
      });
      afterAll(async () => {
        await store.close();
        await client.close();
        await other.close();
        await target.dispose();
      });

      const guard = (transaction: unknown) => store.guard(transaction, key, 'holder', token);
      const write = (row: string, transaction?: unknown) =>
        client.query(`INSERT INTO writes VALUES ('${row}')`, transaction);
      const written = async () =>
        JSON.stringify(await other.query(`SELECT name FROM writes WHERE name LIKE '${key}%'`));
      const refusal = (message: RegExp) => ({ name: 'LockError', message: expect.stringMatching(message) });

      if (name === 'postgres' || name === 'mariadb')
        it('B91 lock.transaction() runs at READ COMMITTED', async () => {
          const sql =
            name === 'postgres'
              ? "SELECT current_setting('transaction_isolation') AS level"
              : 'SELECT trx_isolation_level AS level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()';
          await store.transaction(async (transaction) => {
            await write(key, transaction);
            expect(JSON.stringify(await client.query(sql, transaction))).toMatch(/read committed/i);
          });
        });

      it('B91 a guard accepts a nested transaction, which counts as open until the outermost transaction ends', async () => {
        let isOpen = () => true;
        await client.transaction(async (outer) => {
          await client.nested?.(outer, async (nested) => {
            expect(await guard(nested)).toBe(true);
            isOpen = store.watchTransaction(nested);
            await write(key, nested);
          });
          expect(isOpen()).toBe(true);
          expect(await guard(outer)).toBe(true);
        });
        expect(isOpen()).toBe(false);
        expect(await written()).toContain(key);
      });

      it('B91 a nested transaction in lock.transaction() can roll back without the outer transaction', async () => {
        await store.transaction(async (outer) => {
          await write(`${key}-outer`, outer);
          await expect(
            client.nested?.(outer, async (nested) => {
              expect(await guard(nested)).toBe(true);
              await write(`${key}-nested`, nested);
              throw new Error('undone');
            }),
          ).rejects.toThrow('undone');
          expect(await guard(outer)).toBe(true);
        });
        expect(await written()).toContain('outer');
        expect(await written()).not.toContain('nested');
      });

      it('B91 a guard refuses an ended transaction and a transaction of another client, and the error names the next step', async () => {
        let ended: unknown;
        await client.transaction(async (transaction) => void (ended = transaction));
        await expect(guard(ended)).rejects.toMatchObject(
          refusal(/needs an open transaction of (Knex|Drizzle).*use lock\.transaction\(\)/),
        );
        await other.transaction(async (transaction) => {
          await expect(guard(transaction)).rejects.toMatchObject(
            refusal(/belongs to another.*that from(Knex|Drizzle)\(\) got.*use lock\.transaction\(\)/),
          );
        });
        let own: unknown;
        await store.transaction(async (transaction) => void (own = transaction));
        await expect(guard(own)).rejects.toBeInstanceOf(LockError);
        await expect(write(`${key}-late`, own)).rejects.toThrow();
        expect(await written()).not.toContain('late');
      });

      it('B91 the guard refuses a lost lock, and nothing is written', async () => {
        await store.forceRelease(key);
        await store.acquire(key, 'thief', TTL);
        const work = store.transaction(async (transaction) => {
          await write(key, transaction);
          if (!(await guard(transaction))) throw new Error('lost');
        });
        await expect(work).rejects.toThrow('lost');
        expect(await written()).not.toContain(key);
      });

      if (name === 'mariadb' || name === 'mysql')
        it('B91 a transaction that CREATE TABLE has committed is refused by the guard', async () => {
          const work = client.transaction(async (transaction) => {
            await client.query(`CREATE TABLE t_${Date.now()} (id int)`, transaction);
            await expect(guard(transaction)).rejects.toMatchObject(
              refusal(/needs an open transaction.*(has|have) (already )?ended/),
            );
          });
          await work;
        });

      if (name === 'postgres') {
        it('B91 a transaction with a failed statement is refused by the guard, and cannot commit', async () => {
          const failing = async (transaction: unknown) =>
            expect(client.query('SELECT 1/0', transaction)).rejects.toThrow();
          await client.transaction(async (transaction) => {
            await failing(transaction);
            await expect(guard(transaction)).rejects.toMatchObject(
              refusal(/a statement of the transaction has failed/),
            );
          });
          const swallowed = store.transaction(async (transaction) => {
            await write(key, transaction);
            await failing(transaction);
          });
          await expect(swallowed).rejects.toMatchObject(
            refusal(/was rolled back: a statement in it had failed/),
          );
          expect(await written()).not.toContain(key);
        });

        it("B91 a failed commit rejects with the server's error, and leaves the pool clean", async () => {
          await client.query(
            'CREATE TABLE IF NOT EXISTS checked (name text REFERENCES writes DEFERRABLE INITIALLY DEFERRED)',
          );
          for (let i = 0; i <= POOL_SIZE; i++)
            await expect(
              store.transaction((transaction) =>
                client.query("INSERT INTO checked VALUES ('missing')", transaction),
              ),
            ).rejects.toThrow(/foreign key/);
          expect(await client.transaction((transaction) => guard(transaction))).toBe(true);
        });
      }

      if (name !== 'sqlite') {
        it('B83 lock.transaction() begins on a clean connection, and commits nothing that was left open', async () => {
          const warnings: string[] = [];
          store.onWarning((_, message) => warnings.push(message));
          await client.leaveDirty?.();
          await store.transaction((transaction) => write(key, transaction));
          expect(warnings[0]).toMatch(/in a transaction that the application left open/);
          expect(await written()).toContain(key);
        });

        it('B91 a transaction fails when its connection is lost, and the next one gets another connection', async () => {
          const lost = store.transaction(async (transaction) => {
            await write(key, transaction);
            await endSession(transaction);
            await write(`${key}-more`, transaction);
          });
          await expect(lost).rejects.toThrow();
          await expect(store.transaction((transaction) => endSession(transaction))).rejects.toBeInstanceOf(
            LockStoreError,
          );
          await store.transaction((transaction) => write(`${key}-next`, transaction));
          expect(await written()).toContain('next');
          expect(await written()).not.toContain('more');
        });
      }

      /** Ends the session in which a transaction runs, from another session. */
      async function endSession(transaction: unknown): Promise<void> {
        const postgres = name === 'postgres';
        const id = postgres ? 'pg_backend_pid()' : 'CONNECTION_ID()';
        const found = JSON.stringify(await client.query(`SELECT ${id} AS session`, transaction));
        const session = /"session":"?(\d+)/.exec(found)?.[1];
        await other.query(postgres ? `SELECT pg_terminate_backend(${session})` : `KILL ${session}`);
      }
    });
