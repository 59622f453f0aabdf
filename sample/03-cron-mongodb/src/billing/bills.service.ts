import { Injectable } from '@nestjs/common';
import { Db, type ClientSession, type Collection } from 'mongodb';
import type { Account } from './account.document.js';
import type { Bill } from './bill.document.js';

@Injectable()
export class Bills {
  private readonly accounts: Collection<Account>;
  private readonly bills: Collection<Bill>;

  constructor(db: Db) {
    this.accounts = db.collection('accounts');
    this.bills = db.collection('bills');
  }

  /**
   * Writes both the account and its next bill, or neither of them. After a conflict with
   * another transaction, the whole method is called again.
   */
  async write(amount: number, session: ClientSession): Promise<void> {
    const account = await this.accounts.findOneAndUpdate(
      { _id: 'acme' },
      { $inc: { due: amount, bills: 1 } },
      { session, upsert: true, returnDocument: 'after' },
    );
    const by = process.env.INSTANCE ?? `pid ${process.pid}`;
    await this.bills.insertOne({ _id: account!.bills, amount, by }, { session });
  }
}
