import {
  acquisitions,
  dirtyAcquisitions,
  nestedAcquisitions,
} from './executor-conformance/acquisitions.cases.js';
import {
  ExecutorTrial,
  type ExecutorCases,
  type SqlExecutorTrial,
} from './executor-conformance/executor-trial.js';
import { facts } from './executor-conformance/facts.cases.js';
import { statements } from './executor-conformance/statements.cases.js';
import {
  foreignGuards,
  guards,
  transactions,
  withoutTransactions,
} from './executor-conformance/transactions.cases.js';
import type { ConformanceCase } from './lock-store-conformance.js';

/** Options of {@link sqlExecutorConformance}. @publicApi */
export interface SqlExecutorConformanceOptions {
  /**
   * The features that the client lacks. The cases of a missing feature fail if it is not named
   * here.
   *
   * - `transactions`: its transactions are synchronous, so there is no `lock.transaction()`.
   * - `guard`: `lock.guard()` only takes transactions of `lock.transaction()`, since the
   *   client does not show whether a transaction of the application is open.
   * - `foreign`: a transaction does not show to which client it belongs.
   * - `nested`: transactions inside transactions.
   * - `leaveDirty`: connections that an application can leave in a transaction.
   */
  without?: ('transactions' | 'guard' | 'foreign' | 'nested' | 'leaveDirty')[] | undefined;
}

/**
 * Makes test cases that check an executor by its rules, for any test runner:
 * `for (const { name, run } of sqlExecutorConformance(createTrial)) it(name, run)`.
 *
 * The cases run one store on the executor, and a second store that plays another process. Keys
 * are random. Each case drops the tables that it created, except the lock table.
 *
 * @param createTrial returns a new trial, with fresh executors, for each case
 * @publicApi
 */
export function sqlExecutorConformance<Transaction>(
  createTrial: () => SqlExecutorTrial<Transaction> | Promise<SqlExecutorTrial<Transaction>>,
  { without = [] }: SqlExecutorConformanceOptions = {},
): ConformanceCase[] {
  const has = (part: (typeof without)[number]) => !without.includes(part);
  const ofTransactions: ExecutorCases = {
    ...transactions,
    ...(has('guard') ? guards : {}),
    ...(has('foreign') ? foreignGuards : {}),
  };
  const cases: ExecutorCases = {
    ...facts,
    ...statements,
    ...acquisitions,
    ...(has('nested') ? nestedAcquisitions : {}),
    ...(has('leaveDirty') ? dirtyAcquisitions : {}),
    ...(has('transactions') ? ofTransactions : withoutTransactions),
  };
  return Object.entries(cases).map(([name, body]) => ({
    name,
    run: async () => {
      const trial = new ExecutorTrial((await createTrial()) as SqlExecutorTrial);
      try {
        await body(trial);
      } catch (error) {
        // An error of closing must not hide the error of the case.
        await trial.close().catch(() => undefined);
        throw error;
      }
      await trial.close();
    },
  }));
}
