import Sqlite from 'better-sqlite3';
import mysql from 'mysql2';
import pg from 'pg';

/**
 * How many statements the drivers of this process have sent since the first call of
 * countStatements().
 */
let count = 0;
let wrapped = false;

/**
 * Counts every statement of pg, mysql2 and better-sqlite3 in this process, whoever sends it.
 * Also counts every command of a MongoDB client that was opened with `monitorCommands`.
 *
 * @returns a function that returns the count so far
 */
export function countStatements({ client } = {}) {
  client?.on('commandStarted', () => count++);
  if (!wrapped) wrapDrivers();
  wrapped = true;
  return () => count;
}

function wrapDrivers() {
  wrap(pg.Client.prototype, ['query']);
  wrap(Object.getPrototypeOf(mysql.Connection.prototype), ['query', 'execute']);
  const database = new Sqlite(':memory:');
  wrap(Object.getPrototypeOf(database.prepare('SELECT 1')), ['run', 'get', 'all', 'iterate']);
  wrap(Sqlite.prototype, ['exec']);
  database.close();
}

function wrap(prototype, methods) {
  for (const method of methods) {
    const original = prototype[method];
    prototype[method] = function (...parameters) {
      count++;
      return original.apply(this, parameters);
    };
  }
}
