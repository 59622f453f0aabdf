import { describe, expect, it } from '@jest/globals';
import { OuterTransactions } from '../../lib/engine/transactions.js';

/** As `@nestjs-cls/transactional` has it. */
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

describe('A5 a transaction around a call', () => {
  it('of a client that does not show its state is open while its library says so', () => {
    const host = new TransactionHost(() => 'as of Knex');
    const transactions = openWith(host, host);
    expect(transactions.open).toBe(false);
    host.active = true;
    expect(transactions.open).toBe(true);
  });

  it('has ended when its query runner or its session says so, although the call chain still has it', () => {
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

  it('a library that throws is reported once, and not checked again', () => {
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

  it('is not looked for in other providers, whose properties are not read', () => {
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
