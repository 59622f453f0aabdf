import Sqlite from 'better-sqlite3';
import mysql from 'mysql2';
import pg from 'pg';

/**
 * Counts what is sent to the database while `work` runs, by listening in on the driver. One counting at a time.
 *
 * @param client the MongoClient, for MongoDB, with `monitorCommands`
 * @returns `{ statements, value }`
 */
export async function countStatements({ store, client }, work) {
  let statements = 0;
  const stop = LISTEN[store](() => statements++, client);
  try {
    const value = await work();
    return { statements, value };
  } finally {
    stop();
  }
}

const LISTEN = {
  postgres: (count) => wrap(pg.Client.prototype, ['query'], count),
  mariadb: (count) => wrap(ownerOf(mysql.Connection.prototype, 'execute'), ['query', 'execute'], count),
  sqlite(count) {
    const database = new Sqlite(':memory:');
    const Statement = Object.getPrototypeOf(database.prepare('SELECT 1'));
    database.close();
    return wrap(Statement, ['run', 'get', 'all'], count);
  },
  mongodb(count, client) {
    client.on('commandStarted', count);
    return () => client.off('commandStarted', count);
  },
};

/** Where in the chain of prototypes a method is: connections of pools have another class. */
function ownerOf(prototype, method) {
  return Object.hasOwn(prototype, method) ? prototype : ownerOf(Object.getPrototypeOf(prototype), method);
}

function wrap(prototype, methods, count) {
  const originals = methods.map((method) => prototype[method]);
  methods.forEach((method, i) => {
    prototype[method] = function (...args) {
      count();
      return originals[i].apply(this, args);
    };
  });
  return () => methods.forEach((method, i) => (prototype[method] = originals[i]));
}
