import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { InjectLockService, Locked, LockContext, LockModule, LockService } from '../../lib/index.js';
import { start } from './applications.js';
import { Gate } from './gate.js';
import { RecordingStore } from './recording-store.js';

const keys = (...wanted: (string | undefined)[]) => wanted.map((key) => LockContext.current(key)?.key);

@Injectable()
class Jobs {
  constructor(
    readonly locks: LockService,
    @InjectLockService('weak') readonly weak: LockService,
  ) {}

  @Locked('outer')
  async outer(body: () => unknown): Promise<unknown> {
    return body();
  }

  @Locked('inner')
  async inner(body: () => unknown): Promise<unknown> {
    return body();
  }
}

async function startJobs(): Promise<Jobs> {
  const app = await start({
    imports: [
      LockModule.forRoot({ store: new RecordingStore(), prefix: 'app' }),
      LockModule.forRoot({ name: 'weak', store: new RecordingStore() }),
    ],
    providers: [Jobs],
  });
  return app.get(Jobs);
}

describe('LockContext', () => {
  it('B62 in a locked method, LockContext.current() is the held lock of the method, with its key without a prefix', async () => {
    const jobs = await startJobs();
    const lock = await jobs.outer(() => {
      const current = LockContext.current();
      expect(current?.held).toBe(true);
      expect(current?.fencingToken).toBeGreaterThan(0);
      return current;
    });
    expect(lock).toMatchObject({ key: 'outer', held: false });
  });

  it('B62 outside of a run, LockContext.current() is undefined', async () => {
    const jobs = await startJobs();
    expect(LockContext.current()).toBeUndefined();
    await jobs.outer(() => {});
    expect(LockContext.current()).toBeUndefined();
    await jobs.locks.acquire('by hand');
    expect(LockContext.current()).toBeUndefined();
  });

  it('B58 LockContext.current() is the innermost lock, and current(key) is the lock of that key', async () => {
    const jobs = await startJobs();
    const wanted = [undefined, 'outer', 'inner', 'run', 'other'];
    expect(
      await jobs.outer(async () => [
        keys(...wanted),
        await jobs.inner(async () => [
          keys(...wanted),
          await jobs.weak.run('run', () => keys(...wanted)),
          keys(...wanted),
        ]),
        keys(...wanted),
      ]),
    ).toEqual([
      ['outer', 'outer', undefined, undefined, undefined],
      [
        ['inner', 'outer', 'inner', undefined, undefined],
        ['run', 'outer', 'inner', 'run', undefined],
        ['inner', 'outer', 'inner', undefined, undefined],
      ],
      ['outer', 'outer', undefined, undefined, undefined],
    ]);
  });

  it('B58 if two modules lock the same key, LockContext.current(key) is the innermost of the two locks', async () => {
    const jobs = await startJobs();
    await jobs.outer(async () => {
      const around = LockContext.current();
      await jobs.weak.run('outer', (lock) => {
        expect(lock).not.toBe(around);
        expect(LockContext.current('outer')).toBe(lock);
      });
      expect(LockContext.current('outer')).toBe(around);
    });
  });

  it('B65 in concurrent calls, LockContext.current() is the lock of the respective call', async () => {
    const jobs = await startJobs();
    const gate = new Gate();
    const results = [
      jobs.outer(async () => {
        await gate.pass();
        return LockContext.current()?.key;
      }),
      jobs.inner(async () => {
        await gate.pass();
        return LockContext.current()?.key;
      }),
    ];
    await gate.reached;
    expect(LockContext.current()).toBeUndefined();
    gate.open();
    expect(await Promise.all(results)).toEqual(['outer', 'inner']);
  });
});
