import { specsOf } from './scripts/test-runs.mjs';

/** @type {import('jest').Config} */
export default {
  rootDir: '.',
  testEnvironment: 'node',
  testEnvironmentOptions: { globalsCleanup: 'off' }, // it warns of what 'jest' itself keeps
  roots: ['<rootDir>/test'],
  ...specsOf(process.env.LOCK_TEST_RUN),
  reporters: ['summary', '<rootDir>/scripts/spec-reporter.mjs'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['ts-jest', { useESM: true, tsconfig: '<rootDir>/tsconfig.json', diagnostics: false }],
  },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  globalSetup: '<rootDir>/test/servers/global-setup.mjs',
  globalTeardown: '<rootDir>/test/servers/global-teardown.mjs',
  setupFilesAfterEnv: ['<rootDir>/test/leaks/setup.ts'],
  testSequencer: '<rootDir>/scripts/spec-sequencer.mjs',
  maxWorkers: 2,
  testTimeout: 300_000, // what hangs fails; what a busy machine slows down does not
};
