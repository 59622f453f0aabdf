import { Module } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { LockModule } from 'nestjs-locked';
import { typeOrmStore } from 'nestjs-locked/typeorm';
import { BeatJob } from './beat.job.js';
import { DemoLink } from './demo-link.js';
import { Report } from './report.entity.js';
import { ReportJob } from './report.job.js';
import { Reports } from './reports.service.js';
import { Run } from './run.entity.js';

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'better-sqlite3',
      database: process.env.DATABASE_FILE ?? 'reports.sqlite',
      enableWAL: true,
      timeout: 5000, // milliseconds to wait for another writer before SQLITE_BUSY
      entities: [Report, Run],
      // Fine for a sample. In production, create the tables with migrations.
      synchronize: true,
    }),
    ScheduleModule.forRoot(),
    // With a short ttl, another instance soon takes over from a dead one. A living instance
    // renews its lock while the job runs.
    LockModule.forRoot({ store: typeOrmStore(), ttl: '2.5s', label: process.env.INSTANCE }),
  ],
  providers: [Reports, ReportJob, BeatJob, DemoLink],
})
export class AppModule {}
