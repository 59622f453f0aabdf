import { Injectable } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { count, sum } from 'drizzle-orm';
import { LockAdmin, LockContext, Locked } from 'nestjs-locked';
import type { Transaction } from '../database/database.module.js';
import { prices, reports } from '../database/schema.js';

@Injectable()
export class ReportsJob {
  constructor(private readonly admin: LockAdmin) {}

  /** Writes a report for each second, on one of the instances. */
  @Cron('* * * * * *')
  @Locked()
  async write(): Promise<void> {
    const lock = LockContext.current<Transaction>()!;
    // The report belongs to the second of the tick, even if this instance is late.
    const { lastTick: second = new Date() } = await this.admin.inspect(lock.key);

    // The work receives the same transaction object as in db.transaction(). The transaction
    // commits only while the lock is held.
    await lock.transaction(async (tx) => {
      const [totals] = await tx.select({ articles: count(), cents: sum(prices.cents) }).from(prices);
      await tx.insert(reports).values({
        second,
        instance: process.env.INSTANCE ?? String(process.pid),
        articles: totals?.articles ?? 0,
        cents: Number(totals?.cents ?? 0),
      });
    });
  }
}
