import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  LockContext,
  Locked,
  LockLostError,
  LockNotAcquiredError,
  LockService,
  type Lock,
} from '../../lib/index.js';
import {
  LockTestingModule,
  TestLocks,
  withoutLocks,
  type LockTestingOptions,
} from '../../lib/testing/index.js';

@Injectable()
class Tokens {
  @Locked('invoices')
  async current(): Promise<Lock | undefined> {
    return LockContext.current();
  }
}

@Injectable()
class Invoices {
  runs = 0;

  @Locked('invoices')
  async export(): Promise<number> {
    return ++this.runs;
  }

  @Locked({ module: 'second' })
  async archive(): Promise<string> {
    return 'archived';
  }
}

class Plain {}

async function application(options?: LockTestingOptions) {
  const modules = [LockTestingModule.forRoot(options), LockTestingModule.forRoot({ name: 'second' })];
  const testing = await Test.createTestingModule({ imports: modules, providers: [Invoices] }).compile();
  return testing.init();
}

describe('withoutLocks', () => {
  it('B68 withoutLocks lets the locked methods of an object made with new run unlocked', async () => {
    const invoices = withoutLocks(new Invoices());
    expect(await Promise.all([invoices.export(), invoices.export(), invoices.archive()])).toEqual([
      1,
      2,
      'archived',
    ]);
  });

  it('B82 under withoutLocks, methods get locks with enabled: false and growing fencing tokens', async () => {
    const tokens = withoutLocks(new Tokens());
    const [first, second] = [await tokens.current(), await tokens.current()];
    expect([first?.enabled, first?.held, first?.key]).toEqual([false, true, 'invoices']);
    // The token is the time in microseconds since 1970.
    expect(first?.fencingToken).toBeGreaterThan(1e15);
    expect(second?.fencingToken).toBeGreaterThan(first?.fencingToken ?? Infinity);
  });

  it('B68 a locked method of an object made with new fails before it runs, and the error names withoutLocks', async () => {
    const invoices = new Invoices();
    await expect(invoices.export()).rejects.toThrow(/Invoices\.export\(\).*withoutLocks\(instance\)/);
    expect(invoices.runs).toBe(0);
  });

  it('B68 withoutLocks refuses an object without locked methods', () => {
    expect(() => withoutLocks(new Plain())).toThrow('withoutLocks() was given a Plain');
  });
});

describe('LockTestingModule', () => {
  it('B3 LockTestingModule locks in memory', async () => {
    const app = await application();
    expect(await app.get(Invoices).export()).toBe(1);
    expect(await app.get(LockService).admin.inspect('invoices')).toMatchObject({
      state: 'free',
      lastRun: { outcome: 'done' },
    });
    await app.close();
  });

  it.each([undefined, 'billing'])(
    'B22 holdElsewhere holds a key as another instance would (prefix %s)',
    async (prefix) => {
      const app = await application({ prefix });
      const elsewhere = await app.get(TestLocks).holdElsewhere('invoices', 'pod-7');
      await expect(app.get(Invoices).export()).rejects.toThrow(LockNotAcquiredError);
      await expect(app.get(Invoices).export()).rejects.toThrow('held by pod-7');
      await elsewhere.release();
      expect(await app.get(Invoices).export()).toBe(1);
      await app.close();
    },
  );

  it('B55 holdElsewhere takes a held lock from its holder', async () => {
    const app = await application({ ttl: 300 });
    const lost = app.get(LockService).run('report', async (lock) => {
      const aborted = new Promise((resolve) => lock.signal.addEventListener('abort', resolve));
      await app.get(TestLocks).holdElsewhere('report');
      await aborted;
    });
    await expect(lost).rejects.toThrow(LockLostError);
    await app.close();
  });
});
