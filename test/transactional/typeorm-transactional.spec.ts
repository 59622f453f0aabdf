import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { DataSource, type DataSourceOptions } from 'typeorm';
import {
  addTransactionalDataSource,
  deleteDataSourceByName,
  Propagation,
  Transactional,
} from 'typeorm-transactional';
import { AppModule, Counter, Counters } from './examples/typeorm-transactional.js';
import { itLocksOutsideOfTransactions } from './transactional.cases.js';

itLocksOutsideOfTransactions({
  name: 'typeorm-transactional',
  Transactional: () => Transactional(),
  NotTransactional: () => Transactional({ propagation: Propagation.NOT_SUPPORTED }),
  imports: (options) => [
    TypeOrmModule.forRootAsync({
      useFactory: () => options,
      dataSourceFactory: async (given) =>
        addTransactionalDataSource(new DataSource(given as DataSourceOptions)),
    }),
  ],
  source: getDataSourceToken(),
  managerOf: (dataSource: DataSource) => dataSource.manager,
  Counter,
  Counters,
  AppModule,
  example: 'test/transactional/examples/typeorm-transactional.ts',
  forget: () => void deleteDataSourceByName('default'),
});
