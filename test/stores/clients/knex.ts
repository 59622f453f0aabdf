import knexOf, { type Knex } from 'knex';
import { fromKnex } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { serverOf, type ClientKind, type TestClient } from './client-kind.js';

export const knex: ClientKind = {
  name: 'Knex',
  stores: ['postgres', 'mariadb', 'mysql', 'mysql56', 'sqlite'],
  without: (store) => (store === 'sqlite' ? ['leaveDirty'] : []),

  async open(target, poolSize = 6): Promise<TestClient<Knex.Transaction>> {
    const instance = openKnex(target, poolSize);
    const ended = await instance.transaction();
    await ended.commit();
    return {
      executor: () => fromKnex(instance),
      query: async (sql, transaction) => (transaction ?? instance).raw(sql),
      transaction: (work) => instance.transaction(work),
      nested: (transaction, work) => transaction.transaction(work),
      // SQLite is left out, because its pool has a single connection, for which the
      // application would wait without end.
      ...(target.name !== 'sqlite' && {
        leaveDirty: () => leaveDirty(instance, 2, ['START TRANSACTION']),
      }),
      notTransactions: { 'the Knex instance': instance, 'a transaction that has ended': ended },
      close: () => instance.destroy(),
    };
  },
};

/** Opens a Knex instance on the database of a spec, as an application does. */
export function openKnex(target: Target, poolSize = 6, config: Knex.Config = {}): Knex {
  if (target.name === 'sqlite')
    return knexOf({
      client: 'better-sqlite3',
      connection: { filename: String(target.options.database) },
      useNullAsDefault: true,
      ...config,
    });
  return knexOf({
    client: target.name === 'postgres' ? 'pg' : 'mysql2',
    connection: serverOf(target),
    pool: { min: 0, max: poolSize },
    ...config,
  });
}

/**
 * Runs these statements on this many connections of the pool, and gives the connections back
 * to the pool.
 */
export async function leaveDirty(instance: Knex, count: number, sql: string[]): Promise<void> {
  const connections = [];
  for (let i = 0; i < count; i++) connections.push(await instance.client.acquireConnection());
  for (const connection of connections) {
    for (const statement of sql)
      await instance
        .raw(statement)
        .connection(connection)
        .catch(() => undefined);
    await instance.client.releaseConnection(connection);
  }
}
