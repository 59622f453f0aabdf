import { Injectable } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { LockAdmin, LockContext, Locked } from 'nestjs-locked';
import type { Prisma } from '../generated/prisma/client.js';

@Injectable()
export class ReportsJob {
  constructor(private readonly admin: LockAdmin) {}

  /** Writes a report for each second, on one of the instances. */
  @Cron('* * * * * *')
  @Locked()
  async write(): Promise<void> {
    const lock = LockContext.current<Prisma.TransactionClient>()!;
    // The report belongs to the second of the tick, even if this instance is late.
    const { lastTick: second = new Date() } = await this.admin.inspect(lock.key);

    // The work receives the same transaction object as in prisma.$transaction(). The
    // transaction commits only while the lock is held.
    await lock.transaction(async (tx) => {
      const { _count, _sum } = await tx.price.aggregate({ _count: true, _sum: { cents: true } });
      await tx.report.create({
        data: {
          second,
          instance: process.env.INSTANCE ?? String(process.pid),
          articles: _count,
          cents: _sum.cents ?? 0,
        },
      });
    });
  }
}
