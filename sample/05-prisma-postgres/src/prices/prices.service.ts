import { Injectable } from '@nestjs/common';
import { LockContext, Locked } from 'nestjs-locked';
import { PrismaService } from '../prisma/prisma.service.js';
import { Suppliers, type PriceList } from './suppliers.js';

@Injectable()
export class PricesService {
  constructor(
    private readonly prisma: PrismaService,
    private readonly suppliers: Suppliers,
  ) {}

  async find(supplier: string): Promise<PriceList> {
    const prices = await this.prisma.price.findMany({ where: { supplier }, orderBy: { article: 'asc' } });
    return Object.fromEntries(prices.map(({ article, cents }) => [article, cents]));
  }

  /**
   * Replaces the prices of a supplier. Only one import at a time runs for each supplier, on
   * all instances.
   */
  @Locked({ key: (supplier: string) => `import:${supplier}`, ttl: '6s', wait: '30s' })
  async import(supplier: string): Promise<void> {
    const lock = LockContext.current()!;
    // The slow call comes before the transaction, since Prisma ends a transaction after 5 s.
    const list = await this.suppliers.priceList(supplier, lock.signal);

    await this.prisma.$transaction(async (tx) => {
      await tx.price.deleteMany({ where: { supplier } });
      await tx.price.createMany({
        data: Object.entries(list).map(([article, cents]) => ({ supplier, article, cents })),
      });
      // guard() is the last statement. If another instance has taken the lock, it throws, and
      // Prisma rolls back.
      await lock.guard(tx);
    });
  }
}
