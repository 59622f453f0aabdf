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

    // When the lock is lost, the signal ends this work at once.
    await work(250, undefined, { signal: lock.signal });
    // Work without a signal can check the lock: assertHeld() throws when the lock is lost.
    lock.assertHeld();

    // Right after the check, the process may be frozen for longer than the ttl, and no check
    // helps against that. So the write carries the fencing token of the lock, and the database
    // refuses a token that is not the newest.
    await this.demo.betweenCheckAndWrite(lock.fencingToken);
    await this.reports.publish(edition + 1, lock.fencingToken);
  }
}
