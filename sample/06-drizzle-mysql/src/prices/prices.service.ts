import { Inject, Injectable } from '@nestjs/common';
import { asc, eq } from 'drizzle-orm';
import { LockContext, Locked } from 'nestjs-locked';
import { DRIZZLE, type Database } from '../database/database.module.js';
import { prices } from '../database/schema.js';
import { Suppliers, type PriceList } from './suppliers.js';

@Injectable()
export class PricesService {
  constructor(
    @Inject(DRIZZLE) private readonly db: Database,
    private readonly suppliers: Suppliers,
  ) {}

  async find(supplier: string): Promise<PriceList> {
    const rows = await this.db
      .select()
      .from(prices)
      .where(eq(prices.supplier, supplier))
      .orderBy(asc(prices.article));
    return Object.fromEntries(rows.map(({ article, cents }) => [article, cents]));
  }

  /**
   * Replaces the prices of a supplier. Only one import at a time runs for each supplier, on
   * all instances.
   */
  @Locked({ key: (supplier: string) => `import:${supplier}`, ttl: '6s', wait: '30s' })
  async import(supplier: string): Promise<void> {
    const lock = LockContext.current()!;
    // The slow call comes before the transaction, which stays short.
    const list = await this.suppliers.priceList(supplier, lock.signal);
    const rows = Object.entries(list).map(([article, cents]) => ({ supplier, article, cents }));

    await this.db.transaction(async (tx) => {
      await tx.delete(prices).where(eq(prices.supplier, supplier));
      if (rows.length > 0) await tx.insert(prices).values(rows);
      // guard() is the last statement. If another instance has taken the lock, it throws, and
      // Drizzle rolls back.
      await lock.guard(tx);
    });
  }
}
