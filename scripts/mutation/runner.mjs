import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import TestRunner from 'jest-runner';

/**
 * The names of the tests of each file, from the first run. Stryker runs each of its processes
 * in its copy of the repository.
 */
const NAMES = 'names-of-tests.json';

/**
 * Jest's own runner with two changes, after which a mutant takes a second and not a minute. It
 * leaves out files without a wanted test, and ends after the first file with a failed test.
 * Jest does neither when a program calls it.
 */
export default class MutationRunner extends TestRunner {
  async runTests(tests, watcher, options) {
    const { testNamePattern } = this._globalConfig;
    const names = {};
    let failed = false;
    this.on('test-file-success', ([{ path }, { numFailingTests, testResults }]) => {
      failed ||= numFailingTests > 0;
      names[path.slice(process.cwd().length)] = testResults.map(({ fullName }) => fullName);
    });
    for (const test of testNamePattern ? wanted(tests, new RegExp(testNamePattern, 'i')) : tests)
      if (!failed) await super.runTests([test], watcher, options);
    if (!testNamePattern) writeFileSync(NAMES, JSON.stringify(names));
  }
}

function wanted(tests, pattern) {
  if (!existsSync(NAMES)) return tests;
  const names = JSON.parse(readFileSync(NAMES, 'utf8'));
  const found = tests.filter(({ path }) =>
    (names[path.slice(process.cwd().length)] ?? ['']).some((name) => pattern.test(name)),
  );
  // The tests of the core come first: they are quick, and notice the most mutants.
  return found.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}
