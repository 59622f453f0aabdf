import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import {
  Injectable,
  Scope,
  type DynamicModule,
  type INestApplicationContext,
  type Type,
} from '@nestjs/common';
import { Cron, Interval, ScheduleModule, SchedulerRegistry, Timeout } from '@nestjs/schedule';
import { once } from 'node:events';
import { Locked, LockContext, LockModule, LockService } from '../../lib/index.js';
import { logs, start } from './applications.js';
import { Gate } from './gate.js';
import { RecordingStore } from './recording-store.js';

const NEVER = '0 0 1 1 *';

/** Calls the cron job as its timer does at a tick. */
const tick = (app: INestApplicationContext, name = 'job') =>
  app.get(SchedulerRegistry, { strict: false }).getCronJob(name).fireOnTick();

interface Job {
  gate: Gate;
  locks: string[];
}

abstract class Base implements Job {
  gate = new Gate();
  locks: string[] = [];

  protected async body(): Promise<void> {
    this.locks.push(LockContext.current()?.key ?? 'unlocked');
    await this.gate.pass();
  }
}

@Injectable()
class CronAbove extends Base {
  @Cron(NEVER, { name: 'job' })
  @Locked()
  async run(): Promise<void> {
    await this.body();
  }
}

@Injectable()
class CronBelow extends Base {
  @Locked()
  @Cron(NEVER, { name: 'job' })
  async run(): Promise<void> {
    await this.body();
  }
}

@Injectable()
class IntervalAbove extends Base {
  @Interval(5)
  @Locked()
  async run(): Promise<void> {
    await this.body();
  }
}

@Injectable()
class IntervalBelow extends Base {
  @Locked()
  @Interval('named', 5)
  async run(): Promise<void> {
    await this.body();
  }
}

@Injectable()
class TimeoutAbove extends Base {
  @Timeout(5)
  @Locked()
  async run(): Promise<void> {
    await this.body();
  }
}

@Injectable()
class TimeoutBelow extends Base {
  @Locked()
  @Timeout('named', 5)
  async run(): Promise<void> {
    await this.body();
  }
}

const orders: [string, (store: RecordingStore) => DynamicModule[]][] = [
  ['after', (store) => [ScheduleModule.forRoot(), LockModule.forRoot({ store })]],
  ['before', (store) => [LockModule.forRoot({ store }), ScheduleModule.forRoot()]],
];

describe.each(orders)('with LockModule imported %s ScheduleModule', (_, imports) => {
  it.each<[string, Type<Base>]>([
    ['@Cron above', CronAbove],
    ['@Cron below', CronBelow],
    ['@Interval above', IntervalAbove],
    ['@Interval below', IntervalBelow],
    ['@Timeout above', TimeoutAbove],
    ['@Timeout below', TimeoutBelow],
  ])('B62 %s @Locked() runs under the lock, and busy ticks are skipped', async (name, job) => {
    const store = new RecordingStore();
    const key = `${job.name}.run`;
    const held = await store.holdElsewhere(key);
    const app = await start({ imports: imports(store), providers: [job] });
    const [{ locks, gate }, { events }] = [app.get(job), app.get(LockService)];

    const busy = once(events, 'busy');
    if (name.includes('Cron')) await tick(app);
    await busy;
    expect(locks).toEqual([]);
    const often = name.includes('Cron')
      ? 'once per tick'
      : name.includes('Interval')
        ? 'once per interval'
        : 'mutual exclusion';
    expect(logs.of('log')).toEqual([`1 locked method: ${key} (skip, ${often}) store=memory`]);
    expect(logs.of('error', 'Scheduler')).toEqual([]);
    await held.release();
    // A timeout fires only once, so there is no second run to check.
    if (name.includes('Timeout')) return;

    const running = name.includes('Cron') ? tick(app) : undefined;
    await gate.reached;
    expect(locks).toEqual([key]);
    expect(await store.holds(key)).toBe(true);
    gate.open();
    await running;
  });

  it('B62 a method with @Timeout() runs under its lock', async () => {
    const store = new RecordingStore();
    const app = await start({ imports: imports(store), providers: [TimeoutAbove, TimeoutBelow] });
    for (const job of [app.get(TimeoutAbove), app.get(TimeoutBelow)]) {
      await job.gate.reached;
      expect(await store.holds(`${job.constructor.name}.run`)).toBe(true);
      job.gate.open();
      expect(job.locks).toEqual([`${job.constructor.name}.run`]);
    }
  });
});

describe('scheduled jobs', () => {
  it('B40 a scheduled job of two instances runs in only one of them', async () => {
    const store = new RecordingStore();
    const instance = () =>
      start({ imports: [LockModule.forRoot({ store }), ScheduleModule.forRoot()], providers: [CronAbove] });
    const [a, b] = [await instance(), await instance()];
    const running = tick(a);
    await a.get(CronAbove).gate.reached;
    const busy = once(b.get(LockService).events, 'busy');
    await tick(b);
    const [{ holder, job }] = (await busy) as [{ holder?: { label: string }; job: string }];
    expect(holder?.label).toContain(String(process.pid));
    expect(job).toBe('CronAbove.run');
    expect(b.get(CronAbove).gate.arrivals).toBe(0);
    a.get(CronAbove).gate.open();
    await running;
  });

  it('B63 a busy scheduled job is skipped by default; onBusy can make it throw or call a function', async () => {
    const calls: unknown[] = [];

    @Injectable()
    class Jobs {
      @Cron(NEVER, { name: 'default' })
      @Locked('job')
      async byDefault(): Promise<string> {
        return 'ran';
      }

      @Locked('job', { onBusy: 'throw' })
      @Cron(NEVER, { name: 'throws' })
      async throws(): Promise<string> {
        return 'ran';
      }

      @Cron(NEVER, { name: 'calls' })
      @Locked('job', { onBusy: ({ key }) => calls.push(key) })
      async calls(): Promise<string> {
        return 'ran';
      }
    }

    const store = new RecordingStore();
    await store.holdElsewhere('job');
    const app = await start({
      imports: [LockModule.forRoot({ store }), ScheduleModule.forRoot()],
      providers: [Jobs],
    });
    await tick(app, 'default');
    expect(await app.get(Jobs).byDefault()).toBeUndefined();
    expect(logs.of('error', 'Scheduler')).toEqual([]);
    await tick(app, 'calls');
    await expect(app.get(Jobs).throws()).rejects.toThrow('Lock "job" was not acquired');
    await app.get(Jobs).calls();
    expect(calls).toEqual(['job', 'job']);
    expect(logs.of('log')).toEqual([
      '3 locked methods: Jobs.byDefault (skip, once per tick), Jobs.throws (throw, once per tick), Jobs.calls (callback, once per tick) store=memory',
    ]);
  });

  it('B63 a busy scheduled job is skipped even with a second lock or another decorator below @Cron()', async () => {
    /**
     * A decorator that wraps the method and keeps its metadata, as those for tracing and
     * transactions do.
     */
    const Traced: MethodDecorator = (_target, _name, descriptor: PropertyDescriptor) => {
      const method = descriptor.value as (...args: unknown[]) => unknown;
      const traced = function (this: unknown, ...args: unknown[]): unknown {
        return method.apply(this, args);
      };
      for (const key of Reflect.getOwnMetadataKeys(method))
        Reflect.defineMetadata(key, Reflect.getOwnMetadata(key, method), traced);
      descriptor.value = traced;
    };

    @Injectable()
    class Jobs {
      @Cron(NEVER, { name: 'traced' })
      @Traced
      @Locked('job')
      async traced(): Promise<string> {
        return 'ran';
      }

      @Cron(NEVER, { name: 'twice' })
      @Locked('around')
      @Locked('job')
      async twice(): Promise<string> {
        return 'ran';
      }
    }

    const store = new RecordingStore();
    const app = await start({
      imports: [LockModule.forRoot({ store }), ScheduleModule.forRoot()],
      providers: [Jobs],
    });
    const jobs = app.get(Jobs);
    expect([await jobs.traced(), await jobs.twice()]).toEqual(['ran', 'ran']);
    await store.holdElsewhere('job');
    expect([await jobs.traced(), await jobs.twice()]).toEqual([undefined, undefined]);
    expect(logs.of('log')).toEqual([
      '3 locked methods: Jobs.traced (skip, once per tick), Jobs.twice (skip, once per tick), Jobs.twice (skip) store=memory',
    ]);
  });

  it('B64 the scheduler reports the error of a failing job', async () => {
    @Injectable()
    class Failing {
      @Cron(NEVER, { name: 'job' })
      @Locked()
      async run(): Promise<void> {
        throw new Error('disk full');
      }
    }
    const store = new RecordingStore();
    const app = await start({
      imports: [LockModule.forRoot({ store }), ScheduleModule.forRoot()],
      providers: [Failing],
    });
    const released = once(app.get(LockService).events, 'released');
    await tick(app);
    await released;
    await expect(app.get(Failing).run()).rejects.toThrow('disk full');
    expect(logs.lines.filter(({ message }) => message.includes('disk full'))).not.toEqual([]);
    expect(await store.inspect('Failing.run')).toMatchObject({ lastRun: { outcome: 'failed' } });
  });

  it('B75 if the store fails, a scheduled job does not run, and the scheduler logs the error', async () => {
    class Broken extends RecordingStore {
      override async acquire(): Promise<never> {
        throw new Error('no connection');
      }
    }
    const app = await start({
      imports: [LockModule.forRoot({ store: new Broken() }), ScheduleModule.forRoot()],
      providers: [CronAbove],
    });
    const failed = once(app.get(LockService).events, 'storeError');
    await tick(app);
    await failed;
    await expect(app.get(CronAbove).run()).rejects.toThrow('The lock store failed');
    expect(app.get(CronAbove).gate.arrivals).toBe(0);
  });

  it('B61 a job that two classes inherit runs in both, under a default key for each class', async () => {
    @Injectable()
    class Import {
      readonly ran: string[] = [];
      @Interval(5)
      @Locked({ onBusy: 'skip' })
      async run(): Promise<void> {
        this.ran.push(LockContext.current()?.key ?? 'unlocked');
      }
    }
    @Injectable()
    class Customers extends Import {}
    @Injectable()
    class Products extends Import {}

    const store = new RecordingStore();
    const app = await start({
      imports: [ScheduleModule.forRoot(), LockModule.forRoot({ store })],
      providers: [Customers, Products],
    });
    const { events } = app.get(LockService);
    while (!app.get(Customers).ran.length || !app.get(Products).ran.length) await once(events, 'released');
    expect(new Set(app.get(Customers).ran)).toEqual(new Set(['Customers.run']));
    expect(new Set(app.get(Products).ran)).toEqual(new Set(['Products.run']));
  });

  it('B68 a scheduled job of an object that a factory returns runs under its lock', async () => {
    const store = new RecordingStore();
    const held = await store.holdElsewhere('CronAbove.run');
    const app = await start({
      imports: [ScheduleModule.forRoot(), LockModule.forRoot({ store })],
      providers: [{ provide: 'job', useFactory: () => new CronAbove() }],
    });
    const busy = once(app.get(LockService).events, 'busy');
    await tick(app);
    await busy;
    const job: CronAbove = app.get('job');
    expect(job.locks).toEqual([]);
    await held.release();
    const running = tick(app);
    await job.gate.reached;
    job.gate.open();
    await running;
    expect(job.locks).toEqual(['CronAbove.run']);
  });

  it('B68 the scheduler does not run a job of a request-scoped class', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest extends Base {
      @Interval(5)
      @Locked()
      async run(): Promise<void> {
        await this.body();
      }
    }
    await start({
      imports: [ScheduleModule.forRoot(), LockModule.forRoot({ store: new RecordingStore() })],
      providers: [PerRequest],
    });
    expect(logs.of('warn', 'Scheduler')).toEqual([expect.stringContaining('PerRequest@run')]);
  });
});
