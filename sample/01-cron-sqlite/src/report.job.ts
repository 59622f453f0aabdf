import { setTimeout as work } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { LockContext, Locked } from 'nestjs-locked';
import { DemoLink } from './demo-link.js';
import { Reports } from './reports.service.js';

@Injectable()
export class ReportJob {
  constructor(
    private readonly reports: Reports,
    private readonly demo: DemoLink,
  ) {}

  @Cron('* * * * * *')
  @Locked()
  async publish(): Promise<void> {
    const lock = LockContext.current()!;
    const edition = await this.reports.begin(lock.fencingToken);

    // The signal ends this work at once when the lock is lost.
    await work(250, undefined, { signal: lock.signal });
    // Work that takes no signal can check the lock: this throws when the lock is lost.
    lock.assertHeld();

    // The process may be frozen right after the check, for longer than the ttl. No check helps
    // against that. So the write carries the token of the lock, and the database refuses a
    // token that is not the newest.
    await this.demo.betweenCheckAndWrite(lock.fencingToken);
    await this.reports.publish(edition + 1, lock.fencingToken);
  }
}
