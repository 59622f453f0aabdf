import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, Module } from '@nestjs/common';
import {
  getLockAdminToken,
  InjectLockAdmin,
  LockAdmin,
  LockModule,
  LockService,
  memoryStore,
} from '../../lib/index.js';
import { LockTestingModule } from '../../lib/testing/index.js';
import { start, startError } from './applications.js';

@Injectable()
class Operations {
  constructor(
    readonly admin: LockAdmin,
    @InjectLockAdmin('jobs') readonly jobs: LockAdmin,
  ) {}
}

const keysOf = async (admin: LockAdmin): Promise<string[]> =>
  (await admin.list()).locks.map(({ key }) => key);

describe('LockAdmin', () => {
  it('B4 each LockAdmin lists the locks of its own store', async () => {
    const app = await start({
      imports: [
        LockModule.forRoot({ store: memoryStore() }),
        LockModule.forRoot({ name: 'jobs', store: memoryStore() }),
      ],
      providers: [Operations],
    });
    const { admin, jobs } = app.get(Operations);
    const lock = await app.get(LockService).acquire('order');
    const job = await app.get<LockService>('LockService:jobs').acquire('export');
    expect(await keysOf(admin)).toEqual(['order']);
    expect(await keysOf(jobs)).toEqual(['export']);
    expect(await jobs.forceRelease('export', { reason: 'test' })).toBe(true);
    expect(await admin.isLocked('order')).toBe(true);
    await Promise.all([lock.release(), job.release()]);
  });

  it('B4 LockAdmin can be injected by its class or by a token', async () => {
    const app = await start({ imports: [LockModule.forRoot({ store: memoryStore() })] });
    expect(app.get(LockAdmin)).toBe(app.get(LockService).admin);
    expect(getLockAdminToken()).toBe(LockAdmin);
    expect(getLockAdminToken('jobs')).not.toBe(getLockAdminToken('other'));
  });

  it('B4 the LockAdmin of a module that is not global can only be injected where the module is imported', async () => {
    @Injectable()
    class Page {
      constructor(readonly admin: LockAdmin) {}
    }
    const locks = LockModule.forRoot({ isGlobal: false, store: memoryStore() });
    @Module({ imports: [locks], providers: [Page] })
    class WithImport {}
    @Module({ providers: [Page] })
    class WithoutImport {}

    const app = await start({ imports: [WithImport] });
    expect(app.get(Page, { strict: false }).admin).toBeInstanceOf(LockAdmin);
    expect((await startError({ imports: [locks, WithoutImport] })).message).toContain('LockAdmin');
  });

  it('B4 LockTestingModule provides a LockAdmin', async () => {
    const app = await start({ imports: [LockTestingModule.forRoot({ name: 'jobs' })] });
    expect(app.get(getLockAdminToken('jobs'), { strict: false })).toBeInstanceOf(LockAdmin);
  });
});
