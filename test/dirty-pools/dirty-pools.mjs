import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { DataSource } from 'typeorm';

/**
 * The report of one process: `left` is how often it left a connection dirty, `connections` is
 * how many connections its pool opened.
 *
 * @typedef {{
 *   granted: number,
 *   left: number,
 *   connections: number,
 *   failures: string[],
 * }} DirtyPoolResult
 */

const INSTANCE = fileURLToPath(new URL('instance.mjs', import.meta.url));
const KEYS = ['one', 'two', 'three'];
const PROCESSES = 2;

/**
 * Two processes acquire the same keys. Each of them keeps leaving a third of the connections
 * in its pool dirty: with an open transaction or a changed setting.
 *
 * @param {{ options: object, locks: number }} run the options of a DataSource on a database of
 * its own, and the number of locks to take over all processes
 * @returns {Promise<DirtyPoolResult[]>} the report of each process; a second holder of a key
 * counts as a failure
 */
export async function lockOnDirtyPools({ options, locks }) {
  const admin = await new DataSource(options).initialize();
  const children = [];
  try {
    await admin.query('CREATE TABLE dirty_holders (name varchar(20) PRIMARY KEY, inside int NOT NULL)');
    for (const key of KEYS) await admin.query(`INSERT INTO dirty_holders VALUES ('${key}', 0)`);
    for (let i = 0; i < PROCESSES; i++) {
      const settings = { options, keys: KEYS, locks: Math.ceil(locks / PROCESSES) };
      children.push(fork(INSTANCE, [JSON.stringify(settings)]));
    }
    await Promise.all(children.map(nextMessage));
    const results = children.map(nextMessage);
    for (const child of children) child.send('go');
    const told = await Promise.all(results);
    await Promise.all(children.map(async (child) => child.exitCode ?? once(child, 'exit')));
    return told;
  } finally {
    // Ends the processes that still run after an error.
    for (const child of children) child.kill('SIGKILL');
    await admin.destroy();
  }
}

/**
 * Resolves to the next message of a child process; rejects if the child ends before it sends a
 * message.
 */
function nextMessage(child) {
  return new Promise((resolve, reject) => {
    const ended = (code) => reject(new Error(`a process ended with exit code ${code}`));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message);
    });
  });
}
