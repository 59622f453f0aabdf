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
  // The clocks of instances differ: when one instance has billed a second, that second may
  // only begin on another instance. So the lock is kept for half a second at least.
  @Locked({ minHold: '500ms' })
  async bill(): Promise<void> {
    const lock = LockContext.current()!;
    // The slow work comes before the transaction, which stays short.
    const amount = await this.meter.read(lock.signal);

    // If the process is frozen here for longer than the ttl, another instance gets the lock,
    // and this process cannot know it. Then the transaction does not commit.
    await lock.transaction(async (session: ClientSession) => this.bills.write(amount, session));
  }
}
