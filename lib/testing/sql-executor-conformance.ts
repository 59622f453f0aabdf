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
   * What the client does not have. If it is missing and not named here, its cases fail.
   *
   * - `transactions`: its transactions are synchronous, so there is no `lock.transaction()`.
   * - `guard`: `lock.guard()` only takes transactions of `lock.transaction()`, since the
   *   client does not show whether a transaction of the application is open.
   * - `foreign`: it does not show to which client a transaction belongs.
   * - `nested`: transactions in transactions.
   * - `leaveDirty`: connections that an application can leave in a transaction.
   */
  without?: ('transactions' | 'guard' | 'foreign' | 'nested' | 'leaveDirty')[] | undefined;
}

/**
 * Makes cases of the rules for an executor, for any test runner:
 * `for (const { name, run } of sqlExecutorConformance(createTrial)) it(name, run)`.
 *
 * The cases run a store on the executor, and another store that plays another process. Keys
 * are random, and each case drops the tables that it made, except the lock table.
 *
 * @param createTrial gives each case a trial of its own, with fresh executors
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
        await trial.close().catch(() => undefined); // its failure must not hide that of the case
        throw error;
      }
      await trial.close();
    },
  }));
}
