import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { TransactionSql } from 'postgres';
import type { SqlExecutor, StatementExecutor } from '../../../lib/stores/sql/index.js';
import { sqlExecutorConformance, type SqlExecutorTrial } from '../../../lib/testing/index.js';
import type { Target } from '../../servers/targets.js';
import { targetsAmong } from '../typeorm/fixture.js';
import type { TestClient } from './client-kind.js';
import { executorBugs, type ExecutorBug } from './executor-planted-bugs.js';
import { clientOf, connect } from './postgresjs.js';
import { PostgresJsExecutor } from './postgresjs-executor.js';
import { typeorm } from './typeorm.js';

for (const { open } of targetsAmong('postgres'))
  describe('planted bugs of executors', () => {
    let target: Target;
    let other: TestClient;
    let foreign: TestClient;
    beforeAll(async () => {
      target = await open();
      other = await typeorm.open(target);
      foreign = clientOf(connect(target));
    });
    afterAll(async () => {
      await foreign.close();
      await other.close();
      await target.dispose();
    });

    it('B90 the conformance suite finds no bug in the sound executor', async () => {
      expect(await failureWith((right) => right, CASES)).toBeUndefined();
    });

    it.each(executorBugs.map((bug) => [bug.name, bug.foundBy, bug] as const))(
      'B90 the bug "%s" is found by the case "%s"',
      async (_, foundBy, bug) => {
        expect(CASES).toContain(foundBy);
        expect(await failureWith(planted(bug), [foundBy])).toMatchObject({ message: expect.any(String) });
      },
    );

    it('B90 the suite fails for an executor without nested transactions, and the error tells how to leave them out', async () => {
      const bare = (trial: SqlExecutorTrial<any>) => ({ ...trial, nested: undefined });
      const nested = CASES.filter((name) => name.includes('nested'));
      expect(await failureWith((right) => right, nested, bare)).toMatchObject({
        message: expect.stringContaining('{ without: ["nested"] }'),
      });
    });

    /** Runs these cases, each with a client of its own, and returns the first failure. */
    async function failureWith(
      plant: (right: StatementExecutor<any>, around: any) => SqlExecutor<any>,
      names: readonly string[],
      change = (trial: SqlExecutorTrial<any>) => trial,
    ): Promise<unknown> {
      const sql = connect(target);
      const client = clientOf(sql);
      const stack: TransactionSql[] = [];
      const within = async <T>(transaction: any, work: (transaction: any) => Promise<T>): Promise<T> => {
        stack.push(transaction);
        return work(transaction).finally(() => stack.pop());
      };
      const around = { client, sql, current: () => stack.at(-1) };
      const createTrial = (): SqlExecutorTrial<any> =>
        change({
          ...client,
          executor: plant(new PostgresJsExecutor(sql), around),
          other: other.executor(),
          transaction: (work) => client.transaction((transaction) => within(transaction, work)),
          nested: async (transaction, work) => client.nested!(transaction, (inner) => within(inner, work)),
          foreign: (work) => foreign.transaction(work),
        });
      try {
        for (const { name, run } of sqlExecutorConformance(createTrial, { without: ['guard'] }))
          if (names.includes(name)) await run();
        return undefined;
      } catch (error) {
        return error;
      } finally {
        await client.close();
      }
    }
  });

const CASES = sqlExecutorConformance(() => Promise.reject(new Error('it is not run')), {
  without: ['guard'],
}).map(({ name }) => name);

/** Returns a sound executor with a bug planted in it. */
function planted({ plant }: ExecutorBug) {
  return (right: StatementExecutor<any>, around: any): StatementExecutor<any> => {
    const { client, type, schema, description } = right;
    return {
      client,
      type,
      schema,
      description,
      query: (text, values) => right.query(text, values),
      transaction: (work, options) => right.transaction(work, options),
      queryIn: (transaction, doing) => right.queryIn(transaction, doing),
      watchTransaction: (transaction) => right.watchTransaction(transaction),
      close: () => right.close(),
      ...plant(right, around),
    };
  };
}
