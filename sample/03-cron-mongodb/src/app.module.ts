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
        ttl: '2.5s', // short, so that a dead instance is soon replaced; a living one renews its lock for as long as the job takes
        label: process.env.INSTANCE,
      }),
    }),
    BillingModule,
  ],
})
export class AppModule {}
