import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import {
  Injectable,
  Module,
  type BeforeApplicationShutdown,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { Cron, ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { once } from 'node:events';
import {
  Locked,
  LockContext,
  LockError,
  LockLostError,
  LockModule,
  LockService,
  type Lock,
} from '../../lib/index.js';
import type { AcquireRequest, LockStoreDefinition, ReleaseRequest } from '../../lib/interfaces/index.js';
import type { LockModuleDefaults } from '../../lib/options/lock.options.js';
import { logs, start, stop } from './applications.js';
import { Gate } from './gate.js';
import { RecordingStore } from './recording-store.js';

const order: string[] = [];

/**
 * A connection that closes in the last shutdown hook, like those of @nestjs/typeorm and
 * @nestjs/mongoose.
 */
class Connection implements OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown {
  onModuleDestroy(): void {
    order.push('connection: onModuleDestroy');
  }
  beforeApplicationShutdown(): void {
    order.push('connection: beforeApplicationShutdown');
  }
  onApplicationShutdown(): void {
    order.push('connection: closed');
  }
}

@Module({ providers: [Connection], exports: [Connection] })
class DatabaseModule {}

/** A store that uses the connection of the application and records each request. */
class ConnectedStore extends RecordingStore {
  constructor(readonly connection: unknown) {
    super();
  }
  override async acquire(key: string, owner: string, ttl: number, request?: AcquireRequest) {
    order.push(`store: acquire ${key}`);
    return super.acquire(key, owner, ttl, request);
  }
  override async release(key: string, owner: string, end?: ReleaseRequest): Promise<boolean> {
    order.push(`store: release ${key}`);
    return super.release(key, owner, end);
  }
  async prepare(): Promise<void> {
    order.push('store: prepare');
  }
  async close(): Promise<void> {
    order.push('store: close');
  }
}

const connected: LockStoreDefinition = {
  inject: [Connection],
  useFactory: (connection) => new ConnectedStore(connection),
};

let gate = new Gate();

@Injectable()
class Jobs {
  ticks = 0;
  lock: Lock | undefined;

  @Cron('0 0 1 1 *', { name: 'tick' })
  @Locked()
  async tick(): Promise<string> {
    this.ticks++;
    return 'ticked';
  }

  @Cron('0 0 1 1 *', { name: 'patient' })
  @Locked('work', { wait: Infinity })
  async patient(): Promise<string> {
    return 'ran';
  }

  @Locked('work')
  async work(): Promise<string> {
    this.lock = LockContext.current();
    await gate.pass();
    order.push(`work ended, ${this.lock?.held ? 'held' : 'not held'}`);
    return 'worked';
  }

  @Locked('other')
  async other(): Promise<string> {
    return 'other';
  }
}

async function startWith(options: LockModuleDefaults = {}) {
  order.length = 0;
  gate = new Gate();
  const app = await start({
    imports: [LockModule.forRoot({ ...options, store: connected }), DatabaseModule, ScheduleModule.forRoot()],
    providers: [Jobs],
  });
  return { app, jobs: app.get(Jobs), locks: app.get(LockService) };
}

const settled = (call: Promise<unknown>): Promise<unknown> => call.catch((error: unknown) => error);

describe('app.close()', () => {
  it('B12 close() waits for running work, releases its lock, and closes the store before the connections', async () => {
    const { app, jobs } = await startWith();
    const working = jobs.work();
    await gate.reached;
    const closing = stop(app);
    await new Promise(setImmediate);
    order.push('the gate is opened');
    gate.open();
    await closing;
    expect(await working).toBe('worked');
    expect(
      order.filter((line) => !line.startsWith('connection: on') && !line.startsWith('connection: b')),
    ).toEqual([
      'store: prepare',
      'store: acquire work',
      'the gate is opened',
      'work ended, held',
      'store: release work',
      'store: close',
      'connection: closed',
    ]);
    expect(order.indexOf('connection: closed')).toBe(order.length - 1);
  });

  it('B12 close() releases locks that were taken with acquire() before the connections close', async () => {
    const { app, locks } = await startWith();
    const lost: LockLostError[] = [];
    const lock = await locks.acquire('by hand', { onLost: (_, error) => lost.push(error) });
    const endless = await locks.acquire('endless', { ttl: Infinity });
    await stop(app);
    expect([lock.held, endless.held]).toEqual([false, false]);
    const last = order.slice(order.indexOf('store: close') - 2);
    expect(last.filter((line) => !line.startsWith('connection: before'))).toEqual([
      'store: release by hand',
      'store: release endless',
      'store: close',
      'connection: closed',
    ]);
    expect(await lock.release()).toBe(false);
  });

  it('B12 close() ends the waits at once, with an error that names the shutdown', async () => {
    const { app, jobs, locks } = await startWith();
    const working = jobs.work();
    await gate.reached;
    const waiting = [
      locks.acquire('work', { wait: Infinity }),
      locks.run('work', () => 'never', { wait: '1h' }),
      locks.tryAcquire('work', { wait: Infinity }),
    ].map(settled);
    await new Promise(setImmediate);
    const closing = stop(app);
    for (const error of await Promise.all(waiting)) {
      expect(error).toBeInstanceOf(LockError);
      expect(error).toMatchObject({ message: expect.stringContaining('shutting down') });
    }
    gate.open();
    await closing;
    expect(await working).toBe('worked');
  });

  it('B12 during close(), new calls reject, and ticks are skipped without an error in the log', async () => {
    const { app, jobs, locks } = await startWith();
    const registry = app.get(SchedulerRegistry);
    const working = jobs.work();
    await gate.reached;
    const closing = stop(app);
    while (!locks.stopping) await new Promise(setImmediate);

    expect(await settled(jobs.other())).toMatchObject({
      message: 'The application is shutting down: it takes no more locks.',
    });
    expect(await settled(locks.acquire('other'))).toBeInstanceOf(LockError);
    expect(await jobs.tick()).toBeUndefined();
    await registry.getCronJob('tick').fireOnTick();
    expect(jobs.ticks).toBe(0);

    gate.open();
    await closing;
    expect(await working).toBe('worked');
    expect(await settled(locks.acquire('after'))).toBeInstanceOf(LockError);
    expect(await jobs.tick()).toBeUndefined();
    expect(order.filter((line) => line.includes('acquire'))).toEqual(['store: acquire work']);
    expect(logs.of('error', 'Scheduler')).toEqual([]);
  });

  it('B12 close() ends the wait of a tick, which is skipped without an error in the log', async () => {
    const { app, jobs, locks } = await startWith();
    const registry = app.get(SchedulerRegistry);
    const working = jobs.work();
    await gate.reached;
    const waiting = jobs.patient();
    const ticking = registry.getCronJob('patient').fireOnTick();
    await new Promise(setImmediate);
    const closing = stop(app);
    expect(await waiting).toBeUndefined();
    await ticking;
    gate.open();
    await closing;
    expect(await working).toBe('worked');
    expect(locks.stopping).toBe(true);
    expect(logs.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('B12 close() waits for work up to shutdownTimeout and then releases its lock', async () => {
    const { app, jobs } = await startWith({ shutdownTimeout: 20 });
    const working = settled(jobs.work());
    await gate.reached;
    const aborted = once(jobs.lock!.signal, 'abort');
    await stop(app);
    await aborted;
    expect(jobs.lock?.held).toBe(false);
    expect(order.at(-1)).toBe('connection: closed');
    expect(order).toContain('store: release work');
    gate.open();
    expect(await working).toBeInstanceOf(LockLostError);
    expect(order.at(-1)).toBe('work ended, not held');
  });

  it('B12 close() waits for running work even if the work fails, and its caller gets the error', async () => {
    const { app, locks } = await startWith();
    const failing = new Gate();
    const running = settled(
      locks.run('failing', async () => {
        await failing.pass();
        throw new Error('bug');
      }),
    );
    await failing.reached;
    const closing = stop(app);
    failing.open();
    await closing;
    expect(await running).toMatchObject({ message: 'bug' });
    expect(order).toContain('store: release failing');
  });

  it("B64 during close(), the error of a running job with onBusy: 'skip' still reaches its caller", async () => {
    const failing = new Gate();

    @Injectable()
    class Job {
      @Locked({ onBusy: 'skip' })
      async run(): Promise<void> {
        await failing.pass();
        throw new Error('bug');
      }
    }
    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
      providers: [Job],
    });
    const running = settled(app.get(Job).run());
    await failing.reached;
    const closing = stop(app);
    while (!app.get(LockService).stopping) await new Promise(setImmediate);
    failing.open();
    await closing;
    expect(await running).toMatchObject({ message: 'bug' });
  });

  it('B13 close() does not touch a store that was never opened', async () => {
    const { app } = await startWith({ enabled: false });
    await stop(app);
    expect(order.filter((line) => line.startsWith('store'))).toEqual([]);
  });
});

describe('the warning about missing shutdown hooks', () => {
  const warnings = (): string[] => logs.of('warn').filter((line) => line.includes('enableShutdownHooks()'));

  it('B12 the warning about shutdown hooks comes once, at the first lock', async () => {
    const { locks } = await startWith();
    expect(warnings()).toEqual([]);
    await locks.run('one', () => {});
    await locks.run('two', () => {});
    expect(warnings()).toEqual([expect.stringContaining('SIGTERM')]);
  });

  it('B12 if shutdown hooks are enabled, no warning about them comes', async () => {
    const { app, locks } = await startWith();
    app.enableShutdownHooks();
    await locks.run('one', () => {});
    expect(warnings()).toEqual([]);
  });

  it('B12 no warning about shutdown hooks comes if the store has nothing to close', async () => {
    const app = await start({ imports: [LockModule.forRoot({ store: new RecordingStore() })] });
    await app.get(LockService).run('one', () => {});
    expect(logs.of('warn')).toEqual([]);
  });
});

describe('the line at start', () => {
  it('B1 the line at start names the locked methods, their onBusy and the store', async () => {
    const { app } = await startWith();
    expect(logs.of('log')).toEqual([
      '4 locked methods: Jobs.tick (skip, once per tick), Jobs.patient (skip, once per tick), Jobs.work (throw), Jobs.other (throw) store=memory',
    ]);
    await app.get(Jobs).other();
    expect(logs.of('log')).toHaveLength(1);
  });

  it('B1 the line at start has the right grammar for one locked method, and for none', async () => {
    @Injectable()
    class One {
      @Locked({ onBusy: () => 'busy' })
      async run(): Promise<void> {}
    }
    const imports = () => [LockModule.forRoot({ store: new RecordingStore() })];
    await start({ imports: imports(), providers: [One] });
    await start({ imports: imports() });
    const silent = {
      acquire: async () => ({ acquired: false as const }),
      renew: async () => false,
      release: async () => false,
    };
    await start({ imports: [LockModule.forRoot({ store: silent })], providers: [One] });
    expect(logs.of('log')).toEqual([
      '1 locked method: One.run (callback) store=memory',
      'no decorated methods store=memory',
      '1 locked method: One.run (callback)',
    ]);
  });

  it('B1 the line at start lists the methods of all classes that share one name', async () => {
    const job = (key: string) => {
      @Injectable()
      class Job {
        @Locked(key)
        async run(): Promise<void> {}
      }
      return Job;
    };
    await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
      providers: [job('a'), job('b')],
    });
    expect(logs.of('log')).toEqual(['2 locked methods: Job.run (throw), Job.run (throw) store=memory']);
  });
});

describe('events of a decorated method', () => {
  it('B1 events of a decorated method carry the name of the method and the key', async () => {
    @Injectable()
    class Orders {
      @Locked({ key: (id: string) => `order:${id}` })
      async ship(_id: string): Promise<void> {}
    }
    @Injectable()
    class Special extends Orders {}

    const store = new RecordingStore();
    const app = await start({ imports: [LockModule.forRoot({ store })], providers: [Orders, Special] });
    const jobs: unknown[] = [];
    const { events } = app.get(LockService);
    for (const name of ['acquired', 'released', 'busy'] as const)
      events.on(name, ({ job, key }: { job?: string; key: string }) => jobs.push([name, job, key]));
    await app.get(Orders).ship('7');
    await store.holdElsewhere('order:8');
    await settled(app.get(Special).ship('8'));
    expect(jobs).toEqual([
      ['acquired', 'Orders.ship', 'order:7'],
      ['released', 'Orders.ship', 'order:7'],
      ['busy', 'Special.ship', 'order:8'],
    ]);
  });

  it('B61 a locked method with its own key works in a class without a name', async () => {
    @Injectable()
    class Job {
      @Locked('key')
      async run(): Promise<string> {
        return 'ran';
      }
    }
    Object.defineProperty(Job, 'name', { value: '' });
    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
      providers: [{ provide: 'job', useClass: Job }],
    });
    expect(await app.get<Job>('job').run()).toBe('ran');
  });
});
