import { strict as assert } from 'node:assert';
import type { ExecutorCases } from './executor-trial.js';

const TYPES = ['postgres', 'mysql', 'mariadb', 'better-sqlite3'];

/** An executor describes its client, and leaves the client usable when it is closed. */
export const facts: ExecutorCases = {
  async 'B90 an executor names its client, and a type of database that can keep locks'(t) {
    const { client, type, schema } = t.given.executor;
    assert.ok(typeof client === 'string' && client !== '', 'client must be the name of the client');
    assert.ok(TYPES.includes(type), `type must be one of ${TYPES.join(', ')}, but it is ${type}`);
    assert.ok(
      schema === undefined || (typeof schema === 'string' && schema !== ''),
      'schema must be a name, or undefined',
    );
  },

  async 'B90 the description names the database, and shows no user, no password and no URL'(t) {
    const { description } = t.given.executor;
    assert.ok(typeof description === 'string' && description !== '', 'the executor must have a description');
    const { secrets = [] } = t.given;
    const hidden = [...secrets, '://', '@'].filter((secret) => description.includes(secret));
    assert.deepEqual(hidden, [], `the description must show no user, no password and no URL: ${description}`);
  },

  async 'B13 close leaves the client of the application usable'(t) {
    await t.take();
    await t.store.close();
    await t.given.executor.close(); // a second time, in case an executor counts the calls
    await t.given.query('SELECT 1');
    await t.given.transaction((transaction) => t.given.query('SELECT 1', transaction));
  },
};
