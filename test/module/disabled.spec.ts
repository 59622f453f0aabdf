import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import {
  Locked,
  LockContext,
  LockError,
  LockModule,
  LockNotAcquiredError,
  LockService,
} from '../../lib/index.js';
import type { LockStoreDefinition } from '../../lib/interfaces/index.js';
import { logs, start, stop } from './applications.js';
import { Gate } from './gate.js';
import { RecordingStore } from './recording-store.js';

let gate = new Gate();

@Injectable()
class Jobs {
  running = 0;

  @Locked()
  async run(): Promise<string> {
    this.running++;
    await gate.pass();
    this.running--;
    return 'done';
  }

  @Locked({ key: (id: string) => `order:${id}` })
  async token(_id: string): Promise<unknown> {
    const lock = LockContext.current();
    return lock && { key: lock.key, enabled: lock.enabled, held: lock.held };
  }
}

function storeThatIsOpenedOnce() {
  const store = new RecordingStore();
  const made: string[] = [];
  const definition: LockStoreDefinition = {
    // This may be any provider: it only makes the factory depend on injection.
    inject: [LockService],
    useFactory: () => {
      made.push('made');
      return Object.assign(store, {
        prepare: async () => void made.push('prepared'),
        close: async () => void made.push('closed'),
      });
    },
  };
  return { store, made, definition };
}

describe('enabled: false', () => {
  it('B73 with enabled: false, all methods run without a lock, and the store is not opened', async () => {
    const { store, made, definition } = storeThatIsOpenedOnce();
    const app = await start({
      imports: [LockModule.forRoot({ store: definition, enabled: false })],
      providers: [Jobs],
    });
    gate = new Gate();
    const jobs = app.get(Jobs);
    const calls = [jobs.run(), jobs.run(), jobs.run()];
    await gate.reached;
    expect(jobs.running).toBe(3);
    gate.open();
    expect(await Promise.all(calls)).toEqual(['done', 'done', 'done']);

    const locks = app.get(LockService);
    expect(locks.enabled).toBe(false);
    expect(await locks.run('key', ({ enabled, held }) => [enabled, held])).toEqual([false, true]);
    const [one, two] = [await locks.acquire('key'), await locks.tryAcquire('key')];
    expect([await one.release(), await two?.release()]).toEqual([true, true]);
    await stop(app);
    expect([made, store.calls]).toEqual([[], []]);
  });

  it('B73 with enabled: false, one warning at start replaces the line of locked methods', async () => {
    const { definition } = storeThatIsOpenedOnce();
    const app = await start({
      imports: [LockModule.forRoot({ store: definition, enabled: false })],
      providers: [Jobs],
    });
    gate = new Gate();
    gate.open();
    await app.get(Jobs).run();
    await app.get(Jobs).run();
    expect(logs.of('warn')).toEqual([
      expect.stringMatching(/^LOCKING IS DISABLED: everything runs unlocked.*enable\(\)/),
    ]);
    expect(logs.of('log')).toEqual([]);
  });

  it('B73 with enabled: false, LockContext still gives a locked method a lock with its key', async () => {
    const { definition } = storeThatIsOpenedOnce();
    const app = await start({
      imports: [LockModule.forRoot({ store: definition, enabled: false })],
      providers: [Jobs],
    });
    expect(await app.get(Jobs).token('7')).toEqual({ key: 'order:7', enabled: false, held: true });
  });

  it('B73 with enabled: false, a locked method of an object that Nest did not create still rejects', async () => {
    await start({
      imports: [LockModule.forRoot({ store: new RecordingStore(), enabled: false })],
      providers: [Jobs],
    });
    await expect(new Jobs().run()).rejects.toThrow(LockError);
  });

  it('B73 enabled: false also works in the options of forRootAsync()', async () => {
    const { made, definition } = storeThatIsOpenedOnce();
    const app = await start({
      imports: [LockModule.forRootAsync({ useFactory: () => ({ store: definition, enabled: false }) })],
      providers: [Jobs],
    });
    expect(await app.get(Jobs).token('7')).toMatchObject({ enabled: false });
    expect(made).toEqual([]);
  });
});

describe('switching locking at run time', () => {
  it('B73 enable() opens the store once, and methods are locked from then on', async () => {
    const { store, made, definition } = storeThatIsOpenedOnce();
    const app = await start({
      imports: [LockModule.forRoot({ store: definition, enabled: false })],
      providers: [Jobs],
    });
    const locks = app.get(LockService);
    await Promise.all([locks.enable(), locks.enable()]);
    await locks.enable();
    expect([locks.enabled, made]).toEqual([true, ['made', 'prepared']]);
    expect(await app.get(Jobs).token('7')).toMatchObject({ enabled: true, held: true });
    expect(store.calls).toEqual(['acquire order:7', 'release order:7']);
    await store.holdElsewhere('order:7');
    await expect(app.get(Jobs).token('7')).rejects.toThrow(LockNotAcquiredError);
    await stop(app);
    expect(made).toEqual(['made', 'prepared', 'closed']);
  });

  it('B73 after disable(), with one warning, all calls run without a lock, and running work finishes', async () => {
    const store = new RecordingStore();
    const app = await start({ imports: [LockModule.forRoot({ store })], providers: [Jobs] });
    const [jobs, locks] = [app.get(Jobs), app.get(LockService)];
    gate = new Gate();
    const holder = jobs.run();
    await gate.reached;
    await expect(jobs.run()).rejects.toThrow(LockNotAcquiredError);

    locks.disable();
    locks.disable();
    const first = gate;
    gate = new Gate();
    const unlocked = jobs.run();
    await gate.reached;
    expect(jobs.running).toBe(2);
    expect(await store.holds('Jobs.run')).toBe(true);
    first.open();
    gate.open();
    expect(await Promise.all([holder, unlocked])).toEqual(['done', 'done']);
    expect(await store.holds('Jobs.run')).toBe(false);
    expect(logs.of('warn').filter((line) => line.includes('DISABLED'))).toHaveLength(1);

    await locks.enable();
    await store.holdElsewhere('Jobs.run');
    await expect(jobs.run()).rejects.toThrow(LockNotAcquiredError);
    expect(logs.of('warn').at(-1)).toBe('Locking is enabled again.');
  });

  it('B82 fencing tokens keep growing across disable() and enable()', async () => {
    const app = await start({ imports: [LockModule.forRoot({ store: new RecordingStore() })] });
    const locks = app.get(LockService);
    const tokens: number[] = [];
    const take = async (): Promise<void> =>
      void tokens.push(await locks.run('key', (lock) => lock.fencingToken));
    for (let round = 0; round < 20; round++) {
      await take();
      locks.disable();
      for (let call = 0; call < 3; call++) await take();
      await locks.enable();
    }
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b));
  });

  it('B73 if enable() cannot open the store, it rejects, and locking stays disabled', async () => {
    let attempts = 0;
    const store = new RecordingStore();
    const definition: LockStoreDefinition = {
      useFactory: () => {
        if (++attempts === 1) throw new Error('no database yet');
        return store;
      },
    };
    const app = await start({
      imports: [LockModule.forRoot({ store: definition, enabled: false })],
      providers: [Jobs],
    });
    const locks = app.get(LockService);
    await expect(locks.enable()).rejects.toThrow('no database yet');
    expect(locks.enabled).toBe(false);
    expect(await app.get(Jobs).token('7')).toMatchObject({ enabled: false });
    await locks.enable();
    expect(locks.enabled).toBe(true);
  });
});
