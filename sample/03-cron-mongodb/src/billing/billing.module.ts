import { Module } from '@nestjs/common';
import { MongoModule } from '../mongo.module.js';
import { BillingJob } from './billing.job.js';
import { Bills } from './bills.service.js';
import { Meter } from './meter.service.js';

@Module({
  imports: [MongoModule],
  providers: [BillingJob, Bills, Meter],
})
export class BillingModule {}
