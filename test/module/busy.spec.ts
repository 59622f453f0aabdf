import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, type Type } from '@nestjs/common';
import { once } from 'node:events';
import {
  Locked,
  LockContext,
  LockError,
  LockModule,
  LockNotAcquiredError,
  LockService,
  type Lock,
} from '../../lib/index.js';
import { start } from './applications.js';
import { Gate } from './gate.js';
import { errorOf } from './error-of.js';
import { RecordingStore } from './recording-store.js';

async function startWith<Job>(job: Type<Job>) {
  const store = new RecordingStore();
  const app = await start({ imports: [LockModule.forRoot({ store })], providers: [job] });
  return { store, job: app.get(job), locks: app.get(LockService) };
}

describe('a busy lock of a locked method', () => {
  const ran: string[] = [];

  @Injectable()
  class Orders {
    readonly seen: unknown[] = [];

    @Locked('order')
    async byDefault(): Promise<string> {
      ran.push('byDefault');
      return 'done';
    }

    @Locked('order', { onBusy: 'throw' })
    async throws(): Promise<string> {
      ran.push('throws');
      return 'done';
    }

    @Locked('order', { onBusy: 'skip' })
    async skips(): Promise<string> {
      ran.push('skips');
      return 'done';
    }

    @Locked({
      key: (id: string) => `order:${id}`,
      onBusy: (error, id: string, amount: number) =>
        `${error.name} of ${error.key}: ${id} x ${amount.toFixed(1)}`,
    })
    async calls(_id: string, _amount: number): Promise<string> {
      ran.push('calls');
      return 'done';
    }

    @Locked('order', { onBusy: async (error, id: string) => Promise.resolve([error.holder?.label, id]) })
    async callsAsync(_id: string): Promise<unknown> {
      ran.push('callsAsync');
      return 'done';
    }

    @Locked('order', {
      onBusy: (error) => {
        throw new TypeError('too many', { cause: error });
      },
    })
    async callsThrowing(): Promise<void> {
      ran.push('callsThrowing');
    }

    @Locked('order', { onBusy: () => Promise.reject(new TypeError('too many')) })
    async callsRejecting(): Promise<void> {
      ran.push('callsRejecting');
    }
  }

  it('B63 a busy locked method throws by default, and the error names the holder', async () => {
    const { store, job } = await startWith(Orders);
    await store.holdElsewhere('order');
    ran.length = 0;
    const error = await errorOf(job.byDefault());
    expect(error).toBeInstanceOf(LockNotAcquiredError);
    expect(error).toMatchObject({ key: 'order', holder: { label: 'api-2:77' } });
    expect(await errorOf(job.throws())).toBeInstanceOf(LockNotAcquiredError);
    expect(ran).toEqual([]);
  });

  it("B63 with onBusy: 'skip', a busy method returns undefined without running", async () => {
    const { store, job } = await startWith(Orders);
    const held = await store.holdElsewhere('order');
    ran.length = 0;
    expect(await job.skips()).toBeUndefined();
    expect(ran).toEqual([]);
    await held.release();
    expect(await job.skips()).toBe('done');
  });

  it('B63 an onBusy callback gets the error and the arguments, and the caller gets the value it returns', async () => {
    const { store, job } = await startWith(Orders);
    await store.holdElsewhere('order:7');
    ran.length = 0;
    expect(await job.calls('7', 2)).toBe('LockNotAcquiredError of order:7: 7 x 2.0');
    expect(ran).toEqual([]);
    expect(await job.calls('8', 2)).toBe('done');
  });

  it('B63 an async onBusy callback is awaited, and the caller gets the error it throws', async () => {
    const { store, job } = await startWith(Orders);
    await store.holdElsewhere('order');
    ran.length = 0;
    expect(await job.callsAsync('7')).toEqual(['api-2:77', '7']);
    expect(await errorOf(job.callsThrowing())).toMatchObject({
      name: 'TypeError',
      cause: expect.any(LockNotAcquiredError),
    });
    expect(await errorOf(job.callsRejecting())).toMatchObject({ name: 'TypeError' });
    expect(ran).toEqual([]);
  });

  it('B63 if a locked method has a wait, onBusy applies only after the wait has ended', async () => {
    @Injectable()
    class Patient {
      @Locked('order', { wait: Infinity, onBusy: 'skip' })
      async run(): Promise<string> {
        return 'done';
      }
      @Locked('order', { wait: 30, retry: 5, onBusy: (error) => error.waited })
      async briefly(): Promise<unknown> {
        return 'done';
      }
    }
    const { store, job, locks } = await startWith(Patient);
    const mine = await locks.acquire('order');
    const waiting = job.run();
    expect(await job.briefly()).toBeGreaterThanOrEqual(30);
    await mine.release();
    expect(await waiting).toBe('done');
    expect(store.calls.filter((call) => /^(release|releaseToWaiter)/.test(call))).toHaveLength(2);
  });

  it('B27 if the store is unreachable, the caller gets an error: the method neither runs nor counts as busy', async () => {
    class BrokenStore extends RecordingStore {
      override async acquire(): Promise<never> {
        throw new Error('no connection');
      }
    }
    const app = await start({
      imports: [LockModule.forRoot({ store: new BrokenStore() })],
      providers: [Orders],
    });
    const job = app.get(Orders);
    ran.length = 0;
    for (const call of [job.skips(), job.calls('7', 2), job.byDefault()]) {
      expect(await errorOf(call)).toMatchObject({
        name: 'LockStoreError',
        cause: { message: 'no connection' },
      });
    }
    expect(ran).toEqual([]);
  });
});

describe('skipping', () => {
  const callbacks: unknown[] = [];

  @Injectable()
  class Outer {
    constructor(readonly locks: LockService) {}

    @Locked('outer', { onBusy: 'skip' })
    async skips(body: () => Promise<unknown>): Promise<unknown> {
      return body();
    }

    @Locked('outer', { onBusy: (error) => callbacks.push(error) })
    async calls(body: () => Promise<unknown>): Promise<unknown> {
      return body();
    }

    @Locked('inner')
    async inner(): Promise<string> {
      return 'inner';
    }

    @Locked('inner', { onBusy: 'skip' })
    async innerSkips(): Promise<string> {
      return 'inner';
    }
  }

  it.each(['skips', 'calls'] as const)(
    'B64 onBusy hides neither an error of the method nor the error of a busy nested lock (%s)',
    async (method) => {
      callbacks.length = 0;
      const { store, job, locks } = await startWith(Outer);
      const held = await store.holdElsewhere('inner');

      const bug = new Error('bug');
      expect(await errorOf(job[method](() => Promise.reject(bug)))).toBe(bug);
      for (const nested of [
        () => job.inner(),
        () => locks.acquire('inner'),
        () => locks.run('inner', () => 1),
        // This call locks the same key as its caller, so it is busy.
        () => job.skips(() => Promise.resolve()),
      ]) {
        if (method === 'calls' && nested === undefined) continue;
        const result = await job[method](nested).then(
          (value) => ({ value }),
          (error: unknown) => ({ error }),
        );
        if ('value' in result) expect(result).toEqual({ value: undefined });
        else expect(result.error).toBeInstanceOf(LockNotAcquiredError);
      }
      const made = new LockNotAcquiredError('outer', { waited: 0 });
      expect(await errorOf(job[method](() => Promise.reject(made)))).toBe(made);

      expect(await job[method](() => job.innerSkips())).toBeUndefined();
      await held.release();
      expect(await job[method](() => job.inner())).toBe('inner');
      expect(callbacks).toEqual([]);
      expect(await store.holds('outer')).toBe(false);
    },
  );

  it('B64 onBusy applies if the lock of the method itself is busy', async () => {
    callbacks.length = 0;
    const { store, job } = await startWith(Outer);
    await store.holdElsewhere('outer');
    expect(await job.skips(() => Promise.reject(new Error('never runs')))).toBeUndefined();
    expect(await job.calls(() => Promise.reject(new Error('never runs')))).toBe(1);
    expect(callbacks).toEqual([expect.any(LockNotAcquiredError)]);
  });
});

describe('concurrent calls of one locked method', () => {
  const gates: Record<string, Gate> = {};

  @Injectable()
  class Orders {
    readonly locks: (Lock | undefined)[] = [];

    @Locked({ key: (id: string) => `order:${id}` })
    async ship(id: string): Promise<string> {
      this.locks.push(LockContext.current());
      await gates[id]?.pass();
      return id;
    }
  }

  it('B65 a refused call does not release the lock of a concurrent call of the same method', async () => {
    gates['7'] = new Gate();
    const { store, job } = await startWith(Orders);
    const winner = job.ship('7');
    await gates['7'].reached;
    for (let loser = 0; loser < 3; loser++)
      expect(await errorOf(job.ship('7'))).toBeInstanceOf(LockNotAcquiredError);
    expect(await store.holds('order:7')).toBe(true);
    expect(job.locks[0]?.held).toBe(true);
    gates['7'].open();
    expect(await winner).toBe('7');
    expect(gates['7'].arrivals).toBe(1);
    expect(await store.holds('order:7')).toBe(false);
  });

  it('B65 concurrent calls with different keys have different locks', async () => {
    gates['1'] = new Gate();
    gates['2'] = new Gate();
    const { store, job } = await startWith(Orders);
    const [one, two] = [job.ship('1'), job.ship('2')];
    await Promise.all([gates['1'].reached, gates['2'].reached]);
    expect(new Set(job.locks.map((lock) => lock?.key))).toEqual(new Set(['order:1', 'order:2']));
    gates['1'].open();
    expect(await one).toBe('1');
    expect([await store.holds('order:1'), await store.holds('order:2')]).toEqual([false, true]);
    gates['2'].open();
    expect(await two).toBe('2');
  });

  it('B40 if two instances call a locked method with the same key at once, only one call runs', async () => {
    gates['9'] = new Gate();
    const store = new RecordingStore();
    const instance = () => start({ imports: [LockModule.forRoot({ store })], providers: [Orders] });
    const [a, b] = [await instance(), await instance()];
    const busy = once(b.get(LockService).events, 'busy');
    const winner = a.get(Orders).ship('9');
    await gates['9'].reached;
    const loser = errorOf(b.get(Orders).ship('9'));
    await busy;
    gates['9'].open();
    expect(await winner).toBe('9');
    expect(await loser).toBeInstanceOf(LockNotAcquiredError);
    expect(await b.get(Orders).ship('9')).toBe('9');
  });
});

describe('errors of the lock itself', () => {
  it('B60 a locked method whose key is invalid rejects with a LockError', async () => {
    @Injectable()
    class Job {
      @Locked({ key: () => '' })
      async run(): Promise<void> {}
    }
    const { job } = await startWith(Job);
    expect(await errorOf(job.run())).toBeInstanceOf(LockError);
  });
});
