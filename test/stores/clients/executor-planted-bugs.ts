import type { Sql } from 'postgres';
import type { StatementExecutor } from '../../../lib/stores/sql/index.js';
import type { TestClient } from './client-kind.js';

/**
 * Parts of the application that a planted bug may use. A sound executor has no access to them.
 */
export interface Surroundings {
  client: TestClient;
  sql: Sql;
  /** Returns the innermost transaction that the application has open. */
  current: () => any;
}

export interface ExecutorBug {
  name: string;
  plant: (right: StatementExecutor<any>, around: Surroundings) => Partial<StatementExecutor<any>>;
  /** The name of the conformance case that has to find the bug. */
  foundBy: string;
}

/**
 * Removes the condition that makes a statement fail when it runs inside an open transaction.
 */
function withoutProof(text: string): string {
  return text.replaceAll('statement_timestamp() = transaction_timestamp()', 'TRUE');
}

/** Runs each statement in a transaction of its own instead of the caller's transaction. */
function inTransactionOf(right: StatementExecutor<any>, doing: string): StatementExecutor['query'] {
  return (text, values) =>
    right.transaction((own) => right.queryIn(own, doing)(text, values), { timeout: 10_000 });
}

const inRows =
  (change: (value: unknown) => unknown): ExecutorBug['plant'] =>
  (right) => ({
    async query(text, values) {
      const { rows, affected } = await right.query(text, values);
      const changed = rows.map((row) =>
        Object.fromEntries(Object.entries(row).map(([column, value]) => [column, change(value)])),
      );
      return { rows: changed, affected };
    },
  });

const facts: ExecutorBug[] = [
  {
    name: 'the type is the name of the protocol',
    plant: () => ({ type: 'postgresql' }),
    foundBy: 'B90 an executor names its client, and a type of database that can keep locks',
  },
  {
    name: 'the description is the URL',
    plant: () => ({ description: 'postgres://app:hunter2@localhost/app' }),
    foundBy: 'B90 the description names the database, and shows no user, no password and no URL',
  },
  {
    name: "it closes the application's pool",
    plant: (_, { client }) => ({ close: () => client.close() }),
    foundBy: 'B13 close leaves the client of the application usable',
  },
];

const results: ExecutorBug[] = [
  {
    name: 'it loses the last digit of a bigint',
    plant: inRows((value) => (/^\d{16}$/.test(String(value)) ? `${String(value).slice(0, -1)}0` : value)),
    foundBy: 'B90 a query returns whole numbers with every digit, up to 2 ** 53 - 1',
  },
  {
    name: 'its texts are ASCII',
    plant: inRows((value) => (typeof value === 'string' ? value.replaceAll(/[^\n\t -~]/gu, '?') : value)),
    foundBy: 'B90 a query returns texts unchanged, in every script and with every quote',
  },
  {
    name: 'NULL is an empty text',
    plant: inRows((value) => value ?? ''),
    foundBy: 'B90 a query returns texts unchanged, in every script and with every quote',
  },
  {
    name: 'it gives the first row only',
    plant: (right) => ({
      async query(text, values) {
        const { rows, affected } = await right.query(text, values);
        return { rows: rows.slice(0, 1), affected };
      },
    }),
    foundBy: 'B90 a query returns its rows in their order, or an empty list',
  },
  {
    name: 'whatever was carried out has changed a row',
    plant: (right) => ({
      query: async (text, values) => ({ ...(await right.query(text, values)), affected: 1 }),
    }),
    foundBy: 'B90 a statement returns the number of changed rows, even if it is 0',
  },
  {
    name: 'it swallows errors',
    plant: (right) => ({
      query: (text, values) => right.query(text, values).catch(() => ({ rows: [], affected: 0 })),
    }),
    foundBy: 'B90 an error of the server keeps its code',
  },
  {
    name: 'its errors have no code',
    plant: (right) => ({
      query: (text, values) =>
        right.query(text, values).catch((error: Error) => {
          throw new Error(error.message);
        }),
    }),
    foundBy: 'B90 a missing lock table is recognized, and the error names it',
  },
];

const lost: ExecutorBug[] = [
  {
    name: 'the error of a lost connection has a code that only the client knows',
    plant: (right) => ({
      query: (text, values) =>
        right.query(text, values).catch((error: Error & { code?: unknown }) => {
          throw error.code === '57P01' ? Object.assign(new Error('closed'), { code: 'MY_CLOSED' }) : error;
        }),
    }),
    foundBy:
      'B90 the error of a connection that the server has ended is recognized, and the client stays usable',
  },
];

const joining: ExecutorBug[] = [
  {
    name: "it joins the caller's transaction",
    plant: (right, { client, current }) => ({
      async query(text, values) {
        if (!current()) return right.query(text, values);
        return { rows: (await client.query(text, current())) as any, affected: 1 };
      },
    }),
    foundBy:
      'B77 another client sees an acquisition inside a transaction of the application before the commit',
  },
  ...[
    'B77 the rollback of a transaction does not undo an acquisition inside it',
    'B77 the rollback of a transaction does not undo a renewal and a release inside it',
    'B77 an acquisition is granted even inside a transaction that a failed statement has aborted',
    'B77 another client sees acquisitions beside several open transactions before these end',
    'B77 the rollback of a nested transaction does not undo an acquisition inside it',
  ].map((foundBy): ExecutorBug => ({
    name: "it joins the caller's transaction, and takes the proof out of the statements",
    plant: (right, { client, current }) => ({
      async query(text, values) {
        if (!current()) return right.query(text, values);
        const rows = (await client.query(withoutProof(text), current())) as any;
        return { rows, affected: rows.count };
      },
    }),
    foundBy,
  })),
  {
    name: 'it begins a transaction for each statement',
    plant: (right) => ({
      query: async (text, values) =>
        right.transaction(async (transaction) => right.queryIn(transaction, 'test')(text, values), {
          timeout: 1_000,
        }),
    }),
    foundBy: 'B77 an acquisition is committed at once, and another client sees it',
  },
  {
    name: 'it takes the proof out of the statements',
    plant: (right) => ({ query: (text, values) => right.query(withoutProof(text), values) }),
    foundBy:
      'B83 on a connection that was left in a transaction, an acquisition fails, or other clients see its grant',
  },
  {
    name: 'it has a table of its own',
    plant: (right) => ({
      query: (text, values) =>
        right.query(text.replaceAll('"locks"', '"my_locks"').replaceAll("'locks'", "'my_locks'"), values),
    }),
    foundBy: 'B90 two clients on one table exclude each other, and a refusal shows the holder',
  },
];

const transactions: ExecutorBug[] = [
  {
    name: 'it hands out the bare client',
    plant: (_, { sql }) => ({ transaction: (work) => work(sql) }),
    foundBy: 'B91 lock.transaction rolls back when its work rejects, and rejects with the same error',
  },
  {
    name: 'it commits whatever happens',
    plant: (right) => ({
      async transaction(work, options) {
        const [end] = await right.transaction(
          async (transaction) => Promise.allSettled([work(transaction)]),
          options,
        );
        if (end.status === 'rejected') throw end.reason;
        return end.value;
      },
    }),
    foundBy: 'B91 lock.transaction rolls back when its work rejects, and rejects with the same error',
  },
  {
    name: 'its transactions have no result',
    plant: (right) => ({
      async transaction(work, options) {
        await right.transaction(work, options);
        return undefined as never;
      },
    }),
    foundBy:
      'B91 lock.transaction hands out a transaction of the client, commits it and returns the result of its work',
  },
  {
    name: 'a guard runs outside of the transaction',
    plant: (right, { sql }) => ({
      queryIn(transaction, doing) {
        right.queryIn(transaction, doing);
        return async (text) => {
          const rows = await sql.unsafe(text);
          return { rows, affected: rows.count };
        };
      },
    }),
    foundBy:
      'B91 a guard in lock.transaction confirms the lock, and keeps it from other owners until the commit',
  },
  {
    name: 'a guard is always content',
    plant: () => ({ queryIn: () => async () => ({ rows: [{ guarded: 'held' }], affected: 1 }) }),
    foundBy: 'B91 a guard returns false for a lost lock, another owner or another token',
  },
  {
    name: 'a guard takes the bare client, and begins a transaction of its own',
    plant: (right, { sql }) => ({
      queryIn: (transaction, doing) =>
        transaction === sql ? inTransactionOf(right, doing) : right.queryIn(transaction, doing),
    }),
    foundBy: 'B91 a guard refuses a value that is not an open transaction, and the error names the lock',
  },
  {
    name: 'a guard begins the transaction again that has ended',
    plant: (right) => {
      const ended = new Set<unknown>();
      return {
        transaction: async (work, options) => {
          let begun: unknown;
          const end = () => ended.add(begun);
          const remember: typeof work = async (transaction) => {
            begun = transaction;
            return work(transaction);
          };
          return right.transaction(remember, options).finally(end);
        },
        queryIn: (transaction, doing) =>
          ended.has(transaction) ? inTransactionOf(right, doing) : right.queryIn(transaction, doing),
      };
    },
    foundBy: 'B91 a guard refuses a transaction that has ended',
  },
  {
    name: 'a guard takes whatever runs statements',
    plant: () => ({
      queryIn: (transaction) => async (text) => {
        const rows = await (transaction as Sql).unsafe(text);
        return { rows, affected: rows.count };
      },
    }),
    foundBy: 'B91 a guard refuses a transaction that another client began',
  },
  ...[true, false].map((isOpen): ExecutorBug => ({
    name: `a transaction is always shown as ${isOpen ? 'open' : 'ended'}`,
    plant: () => ({ watchTransaction: () => () => isOpen }),
    foundBy: 'B91 watchTransaction returns a function that tells whether the transaction is still open',
  })),
];

export const executorBugs: readonly ExecutorBug[] = [
  ...facts,
  ...results,
  ...lost,
  ...joining,
  ...transactions,
];
