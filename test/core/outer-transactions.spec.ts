import { describe, expect, it } from '@jest/globals';
import { OuterTransactions } from '../../lib/engine/transactions.js';

/** The members of a transaction host of `@nestjs-cls/transactional` that the library reads. */
class TransactionHost {
  active = false;

  constructor(readonly tx: unknown) {}

  isTransactionActive(): boolean {
    return this.active;
  }

  withTransaction(): void {}
}

const failures: unknown[] = [];

function openWith(...providers: unknown[]): OuterTransactions {
  const transactions = new OuterTransactions((error) => failures.push(error));
  transactions.find(providers);
  return transactions;
}

describe('a transaction around a call', () => {
  it('A5 if the client shows no transaction state, the transaction library tells whether one is open', () => {
    const host = new TransactionHost(() => 'as of Knex');
    const transactions = openWith(host, host);
    expect(transactions.open).toBe(false);
    host.active = true;
    expect(transactions.open).toBe(true);
  });

  it('A5 a transaction has ended when its query runner or session reports the end', () => {
    const queryRunner = { isTransactionActive: true, isReleased: false };
    const session = { in: true, inTransaction: () => session.in };
    for (const [tx, end] of [
      [{ queryRunner }, () => (queryRunner.isTransactionActive = false)],
      [session, () => (session.in = false)],
    ] as const) {
      const host = new TransactionHost(tx);
      host.active = true;
      const transactions = openWith(host);
      expect(transactions.open).toBe(true);
      end();
      expect(transactions.open).toBe(false);
    }
  });

  it('A5 if a transaction library throws, its error is reported once and the library is not used again', () => {
    const broken = new TransactionHost(undefined);
    broken.isTransactionActive = () => {
      throw new Error('no storage');
    };
    const host = new TransactionHost({});
    const transactions = openWith(broken, host);
    expect(transactions.open).toBe(false);
    host.active = true;
    expect(transactions.open).toBe(true);
    expect(failures).toEqual([new Error('no storage')]);
  });

  it('A5 only the hosts of known transaction libraries are checked; other providers stay untouched', () => {
    const unreadable = new Proxy(
      {},
      {
        get: () => {
          throw new Error('read outside of a request');
        },
      },
    );
    class QueryRunner {
      isTransactionActive = true;
      startTransaction(): void {}
    }
    const strange = [
      unreadable,
      new QueryRunner(),
      Object.create(null),
      null,
      undefined,
      'text',
      7,
      () => {},
    ];
    expect(openWith(...strange, { manager: { queryRunner: new QueryRunner() } }).open).toBe(false);
  });
});
