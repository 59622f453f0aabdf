// A Nest application that has a single database client. It checks what each client has to
// support: a lock, transactions that are tied to it, and a cron job.
import 'reflect-metadata';
import { strict as assert } from 'node:assert';
import { once, EventEmitter } from 'node:events';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Cron, ScheduleModule } from '@nestjs/schedule';
import { LockAdmin, Locked, LockLostError, LockModule, LockService, type Lock } from 'nestjs-locked';
import { sqlStore, type SqlExecutor } from 'nestjs-locked/sql';

/** A client, with the calls that an application makes through it. */
export interface Client<Transaction> {
  executor: SqlExecutor<Transaction>;
  /** Runs a statement outside of all transactions. */
  query(sql: string): Promise<unknown>;
  /** The number of rows in the table `notes`. */
  count(): Promise<number>;
  /** The calls for transactions; missing for clients whose transactions are synchronous. */
  transactions?: {
    insert(transaction: Transaction, id: number): Promise<unknown>;
    /** Runs `work` in a transaction that the application begins. */
    run(work: (transaction: Transaction) => Promise<void>): Promise<void>;
    /** Calls `lock.guard()`, whose parameter has the transaction type of this client. */
    guard(lock: Lock<Transaction>, transaction: Transaction): Promise<void>;
  };
  close(): Promise<unknown>;
}

const ticks = new EventEmitter();

@Injectable()
class Jobs {
  @Cron('* * * * * *')
  @Locked()
  async tick(): Promise<void> {
    ticks.emit('tick');
  }
}

export async function check<Transaction>(client: Client<Transaction>): Promise<void> {
  const { executor, transactions } = client;
  const ticked = once(ticks, 'tick');

  @Module({
    imports: [LockModule.forRoot({ store: sqlStore({ executor }) }), ScheduleModule.forRoot()],
    providers: [Jobs],
  })
  class ApplicationModule {}

  await client.query('CREATE TABLE notes (id INT PRIMARY KEY)');
  const application = await NestFactory.createApplicationContext(ApplicationModule, { logger: ['warn'] });
  const locks = application.get<LockService<Transaction>>(LockService);
  const admin = application.get(LockAdmin);
  const work = async (lock: Lock<Transaction>): Promise<void> => {
    assert.equal(await locks.tryAcquire('note'), null);
    assert.equal(await admin.isLocked('note'), true);
    if (transactions) await checkTransactions(lock, client, transactions, admin);
  };
  // `work` lets an operator take the lock away
  await locks.run('note', work, { rejectOnLoss: false });
  assert.equal(await admin.isLocked('note'), false);
  await ticked;
  await application.close();
  await client.query('DROP TABLE notes');
  await client.query('DROP TABLE locks');
  await client.close();
}

async function checkTransactions<Transaction>(
  lock: Lock<Transaction>,
  { count }: Client<Transaction>,
  { insert, run, guard }: NonNullable<Client<Transaction>['transactions']>,
  admin: LockAdmin,
): Promise<void> {
  // The compiler cannot know that this Transaction is not `never`, and would refuse the call
  // without the cast.
  const transaction = lock.transaction.bind(lock) as (work: (tx: Transaction) => unknown) => Promise<unknown>;
  await transaction((tx) => insert(tx, 1));
  assert.equal(await count(), 1);
  const failed = new Error('rolled back');
  const failing = async (tx: Transaction): Promise<void> => {
    await insert(tx, 2);
    throw failed;
  };
  await assert.rejects(transaction(failing), failed);
  await run(async (tx) => {
    await insert(tx, 3);
    await guard(lock, tx);
  });
  assert.equal(await count(), 2);
  await admin.forceRelease('note', { reason: 'to see that nothing is committed' });
  await assert.rejects(
    run(async (tx) => {
      await insert(tx, 4);
      await guard(lock, tx);
    }),
    LockLostError,
  );
  assert.equal(await count(), 2);
}
