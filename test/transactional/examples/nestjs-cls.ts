import { Injectable, Module } from '@nestjs/common';
import { ClsPluginTransactional, Transactional, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { ClsModule } from 'nestjs-cls';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { Locked, LockModule } from '../../../lib/index.js';
import { typeOrmStore } from '../../../lib/stores/typeorm/index.js';

@Entity()
export class Counter {
  @PrimaryColumn({ type: 'varchar', length: 100 })
  name!: string;

  @Column({ type: 'int' })
  value!: number;
}

@Injectable()
export class Counters {
  constructor(private readonly transactions: TransactionHost<TransactionalAdapterTypeOrm>) {}

  // @Locked() is above @Transactional(), so that the lock is released after the commit.
  @Locked({ key: (name: string) => `counter:${name}`, wait: '1m' })
  @Transactional()
  async increment(name: string): Promise<void> {
    const manager = this.transactions.tx;
    const { value } = await manager.findOneByOrFail(Counter, { name });
    await manager.update(Counter, { name }, { value: value + 1 });
  }
}

@Module({
  imports: [
    TypeOrmModule.forRootAsync({
      useFactory: () => ({ type: 'postgres', url: process.env.DATABASE_URL, entities: [Counter] }),
    }),
    ClsModule.forRoot({
      plugins: [
        new ClsPluginTransactional({
          imports: [TypeOrmModule],
          adapter: new TransactionalAdapterTypeOrm({ dataSourceToken: getDataSourceToken() }),
        }),
      ],
    }),
    LockModule.forRoot({ store: typeOrmStore() }),
  ],
  providers: [Counters],
})
export class AppModule {}
