import { Module } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { LockModule } from 'nestjs-locked';
import { fromDrizzle, sqlStore } from 'nestjs-locked/sql';
import { DatabaseModule, DRIZZLE } from './database/database.module.js';
import { PricesModule } from './prices/prices.module.js';
import { ReportsJob } from './reports/reports.job.js';

@Module({
  imports: [
    DatabaseModule,
    ScheduleModule.forRoot(),
    LockModule.forRoot({
      // autoCreate is off, since a migration creates the lock table, see src/migrate.ts.
      store: sqlStore({ inject: [DRIZZLE], executor: fromDrizzle, autoCreate: false }),
      label: process.env.INSTANCE,
    }),
    PricesModule,
  ],
  providers: [ReportsJob],
})
export class AppModule {}
