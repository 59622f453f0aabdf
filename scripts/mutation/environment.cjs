const { TestEnvironment } = require('jest-environment-node'); // Stryker requires it

/** Skips what follows in a file after a test has failed: the mutant is found. */
module.exports = class MutationEnvironment extends TestEnvironment {
  #failed = false;

  handleTestEvent({ name, test }) {
    if (name === 'test_fn_failure' || name === 'hook_failure') this.#failed = true;
    if (name === 'test_start' && this.#failed) test.mode = 'skip';
  }
};
