import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { once } from 'node:events';
import {
  Locked,
  LockContext,
  LockLostError,
  LockModule,
  LockService,
  type Lock,
  type LostCallback,
} from '../../lib/index.js';
import type { LockModuleDefaults } from '../../lib/options/lock.options.js';
import { logs, start } from './applications.js';
import { RecordingStore } from './recording-store.js';

const told: [who: string, key: string, error: unknown][] = [];
const tell =
  (who: string): LostCallback =>
  (lock, error) =>
    told.push([who, lock.key, error]);

/** Ends the lock in the store and extends it, so that the holder notices the loss. */
async function lose(locks: LockService, lock: Lock | undefined = LockContext.current()): Promise<void> {
  if (!lock) throw new Error('There is no lock to lose.');
  await locks.admin.forceRelease(lock.key, { reason: 'test' });
  await lock.extend().catch(() => {});
}

@Injectable()
class Jobs {
  constructor(readonly locks: LockService) {}

  @Locked()
  async byDefault(): Promise<string> {
    await lose(this.locks);
    return 'finished';
  }

  @Locked({ onLost: tell('decorator') })
  async told(): Promise<string> {
    await lose(this.locks);
    return 'finished';
  }

  @Locked({ rejectOnLoss: false })
  async ignored(): Promise<string> {
    await lose(this.locks);
    return 'finished';
  }

  @Locked({
    onLost: () => {
      throw new Error('the callback failed');
    },
  })
  async callbackThrows(): Promise<string> {
    await lose(this.locks);
    return 'finished';
  }

  @Locked({ onLost: () => Promise.reject(new Error('the callback failed')) })
  async callbackRejects(): Promise<string> {
    await lose(this.locks);
    return 'finished';
  }

  @Locked()
  async fails(error: Error): Promise<void> {
    await lose(this.locks);
    throw error;
  }

  @Locked({ key: (which: string) => `outer ${which}`, onLost: tell('outer') })
  async outer(which: string): Promise<unknown> {
    const inner = await this.inner(which).catch((error: Error) => error);
    const lock = LockContext.current();
    if (which === 'outer') await lose(this.locks, lock);
    return { inner, held: lock?.held };
  }

  @Locked({ key: (which: string) => `inner ${which}`, onLost: tell('inner') })
  async inner(which: string): Promise<string> {
    if (which === 'inner') await lose(this.locks);
    return 'inner finished';
  }

  @Locked({ ttl: 100, renewEvery: 10 })
  async watches(): Promise<unknown> {
    const lock = LockContext.current()!;
    const aborted = once(lock.signal, 'abort');
    await this.locks.admin.forceRelease(lock.key, { reason: 'test' });
    await aborted;
    return lock.signal.reason;
  }
}

async function startWith(options: LockModuleDefaults = {}) {
  told.length = 0;
  const store = new RecordingStore();
  const app = await start({ imports: [LockModule.forRoot({ ...options, store })], providers: [Jobs] });
  return { store, jobs: app.get(Jobs), locks: app.get(LockService) };
}

describe('a decorated method whose lock is lost', () => {
  it('B56 a locked method whose lock is lost rejects although its body finished', async () => {
    const { jobs } = await startWith();
    const error = await jobs.byDefault().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LockLostError);
    expect(error).toMatchObject({ key: 'Jobs.byDefault' });
  });

  it('B56 with rejectOnLoss: false, a locked method returns its result after a loss, and onLost runs', async () => {
    expect(await (await startWith({ onLost: tell('module') })).jobs.ignored()).toBe('finished');
    expect(told).toEqual([['module', 'Jobs.ignored', expect.any(LockLostError)]]);
  });

  it('B56 after a loss, the caller gets the error of the body', async () => {
    const bug = new Error('bug');
    await expect((await startWith()).jobs.fails(bug)).rejects.toBe(bug);
  });

  it('B55 the onLost of the decorator runs once, instead of the onLost of the module', async () => {
    const { jobs, locks } = await startWith({ onLost: tell('module') });
    let events = 0;
    locks.events.on('lost', () => events++);
    await expect(jobs.told()).rejects.toThrow(LockLostError);
    expect(told).toEqual([['decorator', 'Jobs.told', expect.any(LockLostError)]]);
    expect(events).toBe(1);
    expect(logs.of('warn').filter((line) => line.includes('was lost'))).toHaveLength(1);
  });

  it('B55 if the decorator has no onLost, the onLost of the module gets the lock and the error', async () => {
    const { jobs } = await startWith({ onLost: tell('module') });
    await expect(jobs.byDefault()).rejects.toThrow(LockLostError);
    expect(told).toEqual([['module', 'Jobs.byDefault', expect.any(LockLostError)]]);
  });

  it('B55 if onLost throws or rejects, the error is logged', async () => {
    const { jobs } = await startWith();
    await expect(jobs.callbackThrows()).rejects.toThrow(LockLostError);
    await expect(jobs.callbackRejects()).rejects.toThrow(LockLostError);
    expect(logs.of('warn').filter((line) => line.includes('the callback failed'))).toEqual([
      expect.stringContaining('"Jobs.callbackThrows"'),
      expect.stringContaining('"Jobs.callbackRejects"'),
    ]);
  });

  it('B55 while a locked method runs, lock.signal notifies it of a loss', async () => {
    const { jobs } = await startWith();
    await expect(jobs.watches()).rejects.toThrow(LockLostError);
  });

  it('B58 if one of two nested locks is lost, only the onLost of that lock runs', async () => {
    const { jobs } = await startWith({ onLost: tell('module') });
    expect(await jobs.outer('inner')).toEqual({ inner: expect.any(LockLostError), held: true });
    expect(told).toEqual([['inner', 'inner inner', expect.any(LockLostError)]]);

    told.length = 0;
    await expect(jobs.outer('outer')).rejects.toThrow('Lock "outer outer"');
    expect(told).toEqual([['outer', 'outer outer', expect.any(LockLostError)]]);

    told.length = 0;
    expect(await jobs.outer('neither')).toEqual({ inner: 'inner finished', held: true });
    expect(told).toEqual([]);
  });

  it('B44 a method that has lost its lock does not release the lock of the next holder', async () => {
    @Injectable()
    class Slow {
      constructor(readonly locks: LockService) {}
      @Locked('slow')
      async run(next: () => Promise<unknown>): Promise<void> {
        await this.locks.admin.forceRelease('slow', { reason: 'test' });
        await next();
      }
    }
    const store = new RecordingStore();
    const app = await start({ imports: [LockModule.forRoot({ store })], providers: [Slow] });
    await expect(app.get(Slow).run(() => store.holdElsewhere('slow'))).rejects.toThrow(LockLostError);
    expect(await store.inspect('slow')).toMatchObject({ state: 'held', holder: { label: 'api-2:77' } });
  });
});
