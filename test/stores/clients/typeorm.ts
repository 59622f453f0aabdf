import { DataSource, type EntityManager } from 'typeorm';
import { fromTypeOrm } from '../../../lib/stores/sql/index.js';
import { leaveDirty } from '../typeorm/dirty-connections.js';
import type { ClientKind, TestClient } from './client-kind.js';

export const typeorm: ClientKind = {
  name: 'TypeORM',
  stores: ['postgres', 'mariadb', 'mysql', 'mysql56', 'sqlite'],
  without: (store) => (store === 'sqlite' ? ['leaveDirty'] : []),

  async open(target, poolSize = 6): Promise<TestClient<EntityManager>> {
    const dataSource = await new DataSource({
      ...target.options,
      poolSize,
    } as typeof target.options).initialize();
    return {
      executor: () => fromTypeOrm(dataSource),
      query: (sql, manager) => (manager ?? dataSource).query(sql),
      transaction: (work) => dataSource.transaction(work),
      nested: (manager, work) => manager.transaction(work),
      leaveDirty: () => leaveDirty(dataSource, 2, ['START TRANSACTION']),
      notTransactions: {
        'the DataSource': dataSource,
        'its manager outside of a transaction': dataSource.manager,
        'a query runner': dataSource.createQueryRunner(),
      },
      close: () => dataSource.destroy(),
    };
  },
};
