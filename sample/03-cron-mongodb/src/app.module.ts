import { Module } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { Db } from 'mongodb';
import { LockModule } from 'nestjs-locked';
import { mongoStore } from 'nestjs-locked/mongodb';
import { BillingModule } from './billing/billing.module.js';
import { MongoModule } from './mongo.module.js';

@Module({
  imports: [
    MongoModule,
    ScheduleModule.forRoot(),
    LockModule.forRootAsync({
      imports: [MongoModule],
      inject: [Db],
      useFactory: (db: Db) => ({
        store: mongoStore({ db }),
        // With a short ttl, another instance soon takes over from a dead one. A living
        // instance renews its lock while the job runs.
        ttl: '2.5s',
        label: process.env.INSTANCE,
      }),
    }),
    BillingModule,
  ],
})
export class AppModule {}
