export { LockTestingModule, type LockTestingOptions } from './lock-testing.module.js';
export { getTestLocksToken, TestLocks } from './test-locks.js';
export { withoutLocks } from './without-locks.js';
export {
  lockStoreConformance,
  type ConformanceCase,
  type ConformanceOptions,
} from './lock-store-conformance.js';
export { sqlExecutorConformance, type SqlExecutorConformanceOptions } from './sql-executor-conformance.js';
export type { SqlExecutorTrial } from './executor-conformance/executor-trial.js';
