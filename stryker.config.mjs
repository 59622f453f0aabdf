import jestConfig from './jest.config.mjs';

/** For `npm run mutate`. @type {import('@stryker-mutator/api/core').PartialStrykerOptions} */
export default {
  mutate: [
    'lib/engine/acquisition.ts',
    'lib/engine/attempts.ts',
    'lib/engine/lease-keeper.ts',
    'lib/engine/lease-releaser.ts',
    'lib/engine/lease-renewer.ts',
    'lib/engine/lease.ts',
    'lib/administration/lock-admin.ts',
    'lib/options/lock-call.ts',
    'lib/lock-context.ts',
    'lib/lock-internals.ts',
    'lib/lock.service.ts',
    'lib/lock.ts',
  ],
  testRunner: 'jest',
  testRunnerNodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
  jest: {
    config: {
      ...jestConfig,
      globalSetup: null, // no servers: these specs have stores of their own
      globalTeardown: null,
      testMatch: ['core', 'module', 'handlers'].map((part) => `<rootDir>/test/${part}/**/*.spec.ts`),
      runner: '<rootDir>/scripts/mutation/runner.mjs',
      testEnvironment: './scripts/mutation/environment.cjs',
      // It takes too long to be run hundreds of times, and what is built, not what is mutated.
      testPathIgnorePatterns: ['many-locks', 'process-exit'],
      testTimeout: 10_000, // many a mutant waits for ever
    },
    enableFindRelatedTests: false,
  },
  coverageAnalysis: 'perTest',
  ignoreStatic: true,
  concurrency: 2,
  maxTestRunnerReuse: 50, // jest keeps the modules of every run
  ignorePatterns: ['.cache', 'dist', 'docs', 'sample', 'compat', 'torture-results'],
  timeoutMS: 60_000,
  timeoutFactor: 1.5,
  reporters: ['clear-text', 'json', 'progress-append-only'],
  clearTextReporter: { allowColor: false, reportTests: false, skipFull: true },
  jsonReporter: { fileName: '.cache/mutation/mutation.json' },
  tempDirName: '.cache/stryker',
  thresholds: { high: 95, low: 85, break: 85 },
};
