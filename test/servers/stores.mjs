import * as mariadb from './mariadb.mjs';
import * as mongodb from './mongodb.mjs';
import * as mysql from './mysql.mjs';
import * as mysql56 from './mysql56.mjs';
import * as postgres from './postgres.mjs';

/**
 * Every store that tests run on, with the module that starts its server if it needs a server.
 */
const stores = { memory: undefined, sqlite: undefined, postgres, mariadb, mysql, mysql56, mongodb };

/**
 * Returns the stores in a list such as `sqlite,postgres`, or all stores if there is no list.
 */
export function selectStores(list = '') {
  const names = list.split(',').map((name) => name.trim());
  const wanted = names.filter(Boolean);
  const unknown = wanted.filter((name) => !Object.hasOwn(stores, name));
  if (unknown.length > 0)
    throw new Error(
      `LOCK_TEST_STORES names "${unknown.join(', ')}"; allowed are ${Object.keys(stores).join(', ')}`,
    );
  return Object.keys(stores).filter((name) => wanted.length === 0 || wanted.includes(name));
}

/** The module that starts the server of a store, if it has one. */
export const serverOf = (store) => stores[store];
