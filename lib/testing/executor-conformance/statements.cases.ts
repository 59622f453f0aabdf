import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { LockStoreError } from '../../lock.errors.js';
import { storeFailure } from '../../stores/sql/store-failure.js';
import { SqlLockStore } from '../../stores/sql/sql-lock.store.js';
import { failureOf, LEASE, show, type ExecutorCases, type ExecutorTrial } from './executor-trial.js';

/** How a database writes the values of a statement, and its codes for two errors. */
interface Dialect {
  /** A value that is a text, or bytes where the lock table keeps bytes. */
  text: string;
  whole: string;
  none: string;
  /**
   * The codes of two errors: `missing` for a missing table, `duplicate` for a key that exists
   * already.
   */
  missing: unknown[];
  duplicate: unknown[];
}

const POSTGRES: Dialect = {
  text: '$1::text',
  whole: '$1::bigint',
  none: '$2::text',
  missing: ['42P01'],
  duplicate: ['23505'],
};
const MYSQL: Dialect = {
  text: 'CAST(? AS BINARY)',
  whole: 'CAST(? AS SIGNED)',
  none: 'CAST(? AS BINARY)',
  missing: [1146, '42S02'],
  duplicate: [1062, '23000'],
};
const SQLITE: Dialect = {
  text: '?',
  whole: 'CAST(? AS INTEGER)',
  none: '?',
  missing: ['SQLITE_ERROR'],
  duplicate: ['SQLITE_CONSTRAINT_PRIMARYKEY'],
};

const TEXTS = [
  '',
  ' leading and trailing ',
  `O'Brien's "first" worker; DROP TABLE locks; -- \\ $1 ? :name %s`,
  'Übergrößenträger, 漢字, ｗ １, 🔒',
  'two\nlines\tand a tab',
  'long '.repeat(2_000),
];
const NUMBERS = [0, 1, -1, 2 ** 31, 2 ** 53 - 1, -(2 ** 53 - 1), 1_763_596_800_123_457];

/** The results and errors of statements that run as the store runs them. */
export const statements: ExecutorCases = {
  async 'B90 a query returns texts unchanged, in every script and with every quote'(t) {
    const { text, none } = dialectOf(t);
    for (const given of TEXTS) {
      const { rows } = await t.run(`SELECT ${text} AS given, ${none} AS missing`, [asBound(t, given), null]);
      assert.equal(rows.length, 1, 'the query must return one row');
      assert.equal(String(rows[0]?.given), given, 'the query must return the text unchanged');
      assert.equal(rows[0]?.missing, null, 'NULL must come back as null');
    }
  },

  async 'B90 a query returns whole numbers with every digit, up to 2 ** 53 - 1'(t) {
    const { whole } = dialectOf(t);
    for (const given of NUMBERS) {
      const { rows } = await t.run(`SELECT ${whole} AS given`, [given]);
      assert.equal(Number(rows[0]?.given), given, 'the query must return the whole number unchanged');
    }
  },

  async 'B90 a query returns its rows in their order, or an empty list'(t) {
    const table = await t.scratch();
    for (const id of [3, 1, 2]) await t.run(`INSERT INTO ${table} (id, note) VALUES (${id}, 'n${id}')`);
    const { rows } = await t.run(`SELECT id, note FROM ${table} ORDER BY id`);
    const found = rows.map(({ id, note }) => `${String(id)}:${String(note)}`).join();
    assert.equal(found, '1:n1,2:n2,3:n3', 'the query must return the rows that were written, in their order');
    const { rows: none } = await t.run(`SELECT id FROM ${table} WHERE id = 4`);
    assert.ok(
      Array.isArray(none) && none.length === 0,
      `a query without rows must return an empty list, not ${show(none)}`,
    );
  },

  async 'B90 a statement returns the number of changed rows, even if it is 0'(t) {
    const table = await t.scratch();
    const affected = async (sql: string) => (await t.run(sql)).affected;
    assert.equal(await affected(`INSERT INTO ${table} (id) VALUES (1), (2), (3)`), 3);
    assert.equal(await affected(`UPDATE ${table} SET note = 'x' WHERE id > 1`), 2);
    assert.equal(await affected(`UPDATE ${table} SET note = 'x' WHERE id > 3`), 0);
    assert.equal(await affected(`DELETE FROM ${table} WHERE id = 1`), 1);
    const { whole } = dialectOf(t);
    const changed = await t.run(`UPDATE ${table} SET note = 'y' WHERE id = ${whole}`, [3]);
    assert.equal(changed.affected, 1, 'a statement with values must report the one row that it changed');
  },

  async 'B90 an error of the server keeps its code'(t) {
    const { missing, duplicate } = dialectOf(t);
    const table = await t.scratch();
    await t.run(`INSERT INTO ${table} (id) VALUES (1)`);
    assertCode(await failureOf(() => t.run(`INSERT INTO ${table} (id) VALUES (1)`)), duplicate);
    assertCode(await failureOf(() => t.run(`SELECT 1 FROM ${table}_missing`)), missing);
    await t.run(`SELECT 1 FROM ${table}`); // the client is still usable
  },

  async 'B90 the error of a connection that the server has ended is recognized, and the client stays usable'(
    t,
  ) {
    const { type } = t.given.executor;
    if (type === 'better-sqlite3') return; // SQLite has no server that could end a connection
    const mark = `conformance ${t.key()}`;
    const [slow, sessions, kill] =
      type === 'postgres'
        ? [
            `SELECT pg_sleep(30) /* ${mark} */`,
            `SELECT pid AS id FROM pg_stat_activity WHERE query LIKE '%sleep%${mark}%' AND pid <> pg_backend_pid()`,
            (id: unknown) => `SELECT pg_terminate_backend(${Number(id)})`,
          ]
        : [
            `SELECT SLEEP(30) /* ${mark} */`,
            `SELECT id FROM information_schema.processlist WHERE info LIKE '%SLEEP%${mark}%' AND id <> CONNECTION_ID()`,
            (id: unknown) => `KILL ${Number(id)}`,
          ];
    const state = { ended: false };
    const failing = failureOf(() => t.run(slow)).finally(() => (state.ended = true));
    while (!state.ended)
      for (const { id } of (await t.runElsewhere(sessions)).rows)
        await failureOf(() => t.runElsewhere(kill(id))); // the session may have ended
    const failure = storeFailure(await failing, 'run a statement', 'the database');
    assert.ok(
      failure instanceof LockStoreError && failure.transient,
      `the error of a connection that has ended must have a code such as ECONNRESET: ${show(failure)}`,
    );
    await t.take();
  },

  async 'B90 a missing lock table is recognized, and the error names it'(t) {
    const table = `${await t.scratch()}_locks`;
    const store = new SqlLockStore(t.given.executor, { ...t.given.store, table, autoCreate: false });
    const failure = await failureOf(() => store.prepare());
    assert.ok(
      failure instanceof LockStoreError && /is missing, and autoCreate is off/.test(failure.message),
      `the error must say that the lock table is missing, but: ${show(failure)}`,
    );
    assert.ok(failure.message.includes(table), `the error does not name the table: ${failure.message}`);
  },

  async "B86 the error of a statement names the server's reason, and no owner id"(t) {
    const table = `${await t.scratch()}_locks`;
    t.dropsInTheEnd(table);
    const store = new SqlLockStore(t.given.executor, { ...t.given.store, table });
    await store.prepare();
    await t.runElsewhere(`ALTER TABLE ${table} DROP COLUMN label`);
    const owner = randomUUID();
    const failure = await failureOf(() => store.acquire(t.key(), owner, LEASE, { label: 'worker' }));
    assert.ok(
      failure instanceof LockStoreError && /label/.test(failure.message),
      `the error must repeat what the server says about the missing column, but: ${show(failure)}`,
    );
    assert.ok(!show(failure).includes(owner), `the error shows the owner id: ${show(failure)}`);
  },
};

function dialectOf({ given: { executor } }: ExecutorTrial): Dialect {
  if (executor.type === 'postgres') return POSTGRES;
  return executor.type === 'better-sqlite3' ? SQLITE : MYSQL;
}

/** Converts a text as the store does before it binds it: to bytes on MySQL and MariaDB. */
function asBound({ given: { executor } }: ExecutorTrial, text: string): unknown {
  return executor.type === 'mysql' || executor.type === 'mariadb' ? Buffer.from(text) : text;
}

function assertCode(error: unknown, codes: readonly unknown[]): void {
  const { code, errno } = Object(error) as { code?: unknown; errno?: unknown };
  assert.ok(
    codes.includes(code) || codes.includes(errno),
    `the error must keep the server's ${codes.join(' or ')} as code or errno, but: ${show(error)}`,
  );
}
