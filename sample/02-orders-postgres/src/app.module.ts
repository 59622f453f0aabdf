import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { LockModule } from 'nestjs-locked';
import { lockTableMigration, typeOrmStore } from 'nestjs-locked/typeorm';
import { CreateOrders } from './create-orders.migration.js';
import { OrdersModule } from './orders/orders.module.js';

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'postgres',
      url: process.env.DATABASE_URL,
      autoLoadEntities: true,
      migrations: [CreateOrders, lockTableMigration()],
      migrationsRun: true,
    }),
    // autoCreate is off, since a migration creates the lock table.
    LockModule.forRoot({ store: typeOrmStore({ autoCreate: false }) }),
    OrdersModule,
  ],
})
export class AppModule {}
