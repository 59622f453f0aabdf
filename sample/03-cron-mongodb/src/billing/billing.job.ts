import { Injectable } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import type { ClientSession } from 'mongodb';
import { LockContext, Locked } from 'nestjs-locked';
import { Bills } from './bills.service.js';
import { Meter } from './meter.service.js';

@Injectable()
export class BillingJob {
  constructor(
    private readonly meter: Meter,
    private readonly bills: Bills,
  ) {}

  @Cron('* * * * * *')
  // The clocks of instances differ: after one instance has billed a second, that second may
  // only begin on another instance.
  @Locked({ minHold: '500ms' })
  async bill(): Promise<void> {
    const lock = LockContext.current()!;
    // Slow work comes before the transaction.
    const amount = await this.meter.read(lock.signal);

    // A process that is frozen here, for longer than the ttl, has lost the lock when it wakes
    // up, and cannot know that. Its transaction does not commit.
    await lock.transaction(async (session: ClientSession) => this.bills.write(amount, session));
  }
}
