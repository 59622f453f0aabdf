import { Module } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { LockModule } from 'nestjs-locked';
import { fromPrisma, sqlStore } from 'nestjs-locked/sql';
import { PricesModule } from './prices/prices.module.js';
import { PrismaModule } from './prisma/prisma.module.js';
import { PrismaService } from './prisma/prisma.service.js';
import { ReportsJob } from './reports/reports.job.js';

@Module({
  imports: [
    PrismaModule,
    ScheduleModule.forRoot(),
    LockModule.forRoot({
      // autoCreate is off, since a migration in prisma/migrations creates the lock table.
      store: sqlStore({ inject: [PrismaService], executor: fromPrisma, autoCreate: false }),
      label: process.env.INSTANCE,
    }),
    PricesModule,
  ],
  providers: [ReportsJob],
})
export class AppModule {}
