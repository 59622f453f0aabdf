import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, Module, Scope, type DynamicModule } from '@nestjs/common';
import {
  getLockServiceToken,
  InjectLockService,
  Locked,
  LockModule,
  LockService,
  memoryStore,
} from '../../lib/index.js';
import { logs, start, startError, stop } from './applications.js';
import { RecordingStore } from './recording-store.js';

@Injectable()
class Mixed {
  constructor(
    readonly locks: LockService,
    @InjectLockService('strong') readonly strong: LockService,
    @InjectLockService('weak') readonly weak: LockService,
  ) {}

  @Locked()
  async byDefault(): Promise<void> {}

  @Locked({ module: 'strong' })
  async strongly(): Promise<void> {}

  @Locked('key', { module: 'weak' })
  async weakly(): Promise<void> {}

  @Locked('outer', { module: 'strong' })
  @Locked('inner', { module: 'weak' })
  async both(): Promise<void> {}
}

function threeModules() {
  const stores = { default: new RecordingStore(), strong: new RecordingStore(), weak: new RecordingStore() };
  const calls = () => [stores.default.calls, stores.strong.calls, stores.weak.calls];
  const imports: DynamicModule[] = [
    LockModule.forRoot({ name: 'weak', store: stores.weak, prefix: 'w' }),
    LockModule.forRoot({ store: stores.default }),
    LockModule.forRootAsync({ name: 'strong', useFactory: () => ({ store: stores.strong }) }),
  ];
  return { stores, calls, imports };
}

describe('named lock modules', () => {
  it('B4 each locked method uses the store of the module that its decorator names', async () => {
    const { calls, imports } = threeModules();
    const mixed = (await start({ imports, providers: [Mixed] })).get(Mixed);
    await mixed.byDefault();
    expect(calls()).toEqual([['acquire Mixed.byDefault', 'release Mixed.byDefault'], [], []]);
    await mixed.strongly();
    expect(calls()[1]).toEqual(['acquire Mixed.strongly', 'release Mixed.strongly']);
    await mixed.weakly();
    expect(calls()[2]).toEqual(['acquire w:key', 'release w:key']);
  });

  it('B4 each locked method of a request-scoped class uses the store of the module it names', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest extends Mixed {
      @Locked({ module: 'weak' })
      async own(): Promise<void> {}
    }

    const { calls, imports } = threeModules();
    const app = await start({ imports, providers: [PerRequest] });
    const perRequest = await app.resolve(PerRequest);
    await perRequest.byDefault();
    await perRequest.strongly();
    await perRequest.own();
    expect(calls().map(([first]) => first)).toEqual([
      'acquire PerRequest.byDefault',
      'acquire PerRequest.strongly',
      'acquire w:PerRequest.own',
    ]);
  });

  it('B4 a method can have a @Locked() of each of two modules, and runs under both locks', async () => {
    const { calls, imports } = threeModules();
    await (await start({ imports, providers: [Mixed] })).get(Mixed).both();
    expect(calls()).toEqual([[], ['acquire outer', 'release outer'], ['acquire w:inner', 'release w:inner']]);
  });

  it('B4 each named service can be injected with @InjectLockService() or by its token', async () => {
    const { stores, imports } = threeModules();
    const app = await start({ imports, providers: [Mixed] });
    const { locks, strong, weak } = app.get(Mixed);
    expect(new Set([locks, strong, weak]).size).toBe(3);
    expect([locks, strong, weak]).toEqual([
      app.get(getLockServiceToken()),
      app.get(getLockServiceToken('strong')),
      app.get(getLockServiceToken('weak')),
    ]);

    await strong.acquire('mine');
    expect(stores.strong.calls).toEqual(['acquire mine']);
    expect(await weak.admin.isLocked('mine')).toBe(false);
    expect(await locks.admin.isLocked('mine')).toBe(false);
    expect(await strong.admin.isLocked('mine')).toBe(true);
  });

  it('B4 getLockServiceToken() returns the injection token of each module', () => {
    expect(getLockServiceToken()).toBe(LockService);
    expect(getLockServiceToken('default')).toBe(LockService);
    expect(getLockServiceToken('weak')).toBe('LockService:weak');
  });

  it('B4 each module logs under its own name and lists only its own methods', async () => {
    await start({ imports: threeModules().imports, providers: [Mixed] });
    expect(logs.of('log')).toEqual(['1 locked method: Mixed.byDefault (throw) store=memory']);
    expect(logs.of('log', 'LockModule:strong')).toEqual([
      '2 locked methods: Mixed.strongly (throw), Mixed.both (throw) store=memory',
    ]);
    expect(logs.of('log', 'LockModule:weak')).toEqual([
      '2 locked methods: Mixed.weakly (throw), Mixed.both (throw) store=memory',
    ]);
  });

  it('B4 locking can be disabled in one module and stay enabled in others', async () => {
    const weak = { useFactory: () => Promise.reject(new Error('opened')) };
    const strong = new RecordingStore();
    const app = await start({
      imports: [
        LockModule.forRoot({ name: 'weak', store: weak, enabled: false }),
        LockModule.forRoot({ name: 'strong', store: strong }),
        LockModule.forRoot({ store: memoryStore() }),
      ],
      providers: [Mixed],
    });
    await app.get(Mixed).weakly();
    await app.get(Mixed).strongly();
    expect(strong.calls).toEqual(['acquire Mixed.strongly', 'release Mixed.strongly']);
    expect(logs.of('warn', 'LockModule:weak')).toEqual([
      expect.stringContaining('LOCKING IS DISABLED for the module "weak"'),
    ]);
  });

  it('B4 when the application closes, the stores of all modules are closed', async () => {
    const { stores, imports } = threeModules();
    const app = await start({ imports, providers: [Mixed] });
    for (const name of ['default', 'strong', 'weak']) {
      const locks: LockService = app.get(getLockServiceToken(name));
      await locks.acquire('held');
    }
    await stop(app);
    expect(await stores.default.holds('held')).toBe(false);
    expect(await stores.strong.holds('held')).toBe(false);
    expect(await stores.weak.holds('w:held')).toBe(false);
  });
});

describe('a missing LockModule', () => {
  @Injectable()
  class Jobs {
    @Locked()
    async work(): Promise<void> {}
  }

  @Injectable()
  class WeakJobs {
    @Locked({ module: 'weak' })
    async work(): Promise<void> {}
  }

  @Injectable()
  class Injected {
    constructor(@InjectLockService('weak') readonly locks: LockService) {}
  }

  it('B4 if a locked method finds no LockModule, the error of Nest names the missing import', async () => {
    const { message } = await startError({ providers: [Jobs] });
    expect(message).toContain(
      '@Locked() needs a LockService; import LockModule.forRoot({ store }) in the root module',
    );
    expect(message).toContain('Jobs');
  });

  it('B4 if a locked method finds no module of its name, the error of Nest names the missing module', async () => {
    const { message } = await startError({
      imports: [LockModule.forRoot({ store: memoryStore() })],
      providers: [WeakJobs],
    });
    expect(message).toContain("import LockModule.forRoot({ name: 'weak', store }) in the root module");
    expect(message).toContain('WeakJobs');
  });

  it('B4 if @InjectLockService() finds no module of its name, the error of Nest names the token', async () => {
    const { message } = await startError({
      imports: [LockModule.forRoot({ store: memoryStore() })],
      providers: [Injected],
    });
    expect(message).toContain('LockService:weak');
  });

  it('B4 a LockModule that is not global has to be imported in each module that uses its locks', async () => {
    @Module({ providers: [WeakJobs] })
    class Feature {}

    const weak = LockModule.forRoot({ name: 'weak', isGlobal: false, store: memoryStore() });
    expect((await startError({ imports: [weak, Feature] })).message).toContain("name: 'weak'");
    await start({ imports: [weak], providers: [WeakJobs] });
  });
});
