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
  @Locked({ minHold: '500ms' }) // the clocks of instances differ: the second that one has billed may begin on another only now
  async bill(): Promise<void> {
    const lock = LockContext.current()!;
    const amount = await this.meter.read(lock.signal); // what takes long comes before the transaction

    // Whoever is frozen here, for longer than the ttl, has lost the lock when it wakes, and cannot know. Its transaction does not commit.
    await lock.transaction(async (session: ClientSession) => this.bills.write(amount, session));
  }
}
