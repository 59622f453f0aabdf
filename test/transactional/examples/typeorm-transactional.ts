import { Injectable, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, DataSource, Entity, PrimaryColumn, type DataSourceOptions } from 'typeorm';
import {
  addTransactionalDataSource,
  initializeTransactionalContext,
  StorageDriver,
  Transactional,
} from 'typeorm-transactional';
import { Locked, LockModule } from '../../../lib/index.js';
import { typeOrmStore } from '../../../lib/stores/typeorm/index.js';

// This call has to run before Nest creates the application.
initializeTransactionalContext({ storageDriver: StorageDriver.ASYNC_LOCAL_STORAGE });

@Entity()
export class Counter {
  @PrimaryColumn({ type: 'varchar', length: 100 })
  name!: string;

  @Column({ type: 'int' })
  value!: number;
}

@Injectable()
export class Counters {
  constructor(private readonly dataSource: DataSource) {}

  // @Locked() is above @Transactional(), so that the lock is released after the commit.
  @Locked({ key: (name: string) => `counter:${name}`, wait: '1m' })
  @Transactional()
  async increment(name: string): Promise<void> {
    const { manager } = this.dataSource;
    const { value } = await manager.findOneByOrFail(Counter, { name });
    await manager.update(Counter, { name }, { value: value + 1 });
  }
}

@Module({
  imports: [
    TypeOrmModule.forRootAsync({
      useFactory: () => ({ type: 'postgres', url: process.env.DATABASE_URL, entities: [Counter] }),
      dataSourceFactory: async (options) =>
        addTransactionalDataSource(new DataSource(options as DataSourceOptions)),
    }),
    LockModule.forRoot({ store: typeOrmStore() }),
  ],
  providers: [Counters],
})
export class AppModule {}
