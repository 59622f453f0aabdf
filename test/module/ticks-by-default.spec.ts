import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, type INestApplicationContext, type ModuleMetadata, type Type } from '@nestjs/common';
import { Cron, Interval, ScheduleModule, SchedulerRegistry, Timeout } from '@nestjs/schedule';
import { CronJob, CronTime } from 'cron';
import { once as next } from 'node:events';
import { setImmediate as othersRun } from 'node:timers/promises';
import { Locked, LockModule, LockNotAcquiredError, LockService, memoryStore } from '../../lib/index.js';
import type {
  AcquireRequest,
  LockAcquireResult,
  LockStore,
  ReleaseRequest,
} from '../../lib/interfaces/index.js';
import { logs, start, startError } from './applications.js';
import { fire, jobOf } from './firing.js';
import { Gate } from './gate.js';
import { RecordingStore } from './recording-store.js';

const MINUTE = 60_000;
/** The ticks are in a later year, so the real timers of the jobs do not fire during a test. */
const NOON = Date.UTC(new Date().getUTCFullYear() + 2, 10, 20, 12);
const NEVER = '0 0 1 1 *';

/** A database with its own clock that remembers ticks and records every request. */
class Database extends RecordingStore {
  readonly keepsOnce = true as const;
  readonly requests: { key: string; request: AcquireRequest; result: LockAcquireResult }[] = [];

  constructor(readonly clock = { now: NOON }) {
    super({ now: () => clock.now });
  }

  override async acquire(key: string, owner: string, ttl: number, request: AcquireRequest = {}) {
    const result = await super.acquire(key, owner, ttl, request);
    this.requests.push({ key, request, result });
    return result;
  }
}

function application(store: LockStore, provider: Type, more: ModuleMetadata['imports'] = []) {
  return start({
    imports: [LockModule.forRoot({ store }), ScheduleModule.forRoot(), ...more],
    providers: [provider],
  });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await othersRun();
}

abstract class Runs {
  ran = 0;
  async run(): Promise<void> {
    this.ran++;
  }
}

@Injectable()
class Job extends Runs {
  @Cron(NEVER, { name: 'job' })
  @Locked()
  override async run(): Promise<void> {
    this.ran++;
  }
}

describe('a plain @Cron() @Locked()', () => {
  it('B81 each tick of a cron job runs on one instance only, even if the lock is free again', async () => {
    const store = new Database();
    const apps = await Promise.all([1, 2, 3].map(() => application(store, Job)));
    for (const tick of [NOON, NOON + MINUTE, NOON + 2 * MINUTE]) {
      store.clock.now = tick;
      for (const app of apps) await fire(jobOf(app, 'job'), tick, MINUTE);
    }
    expect(apps.map((app) => app.get(Job).ran)).toEqual([3, 0, 0]);
    expect(logs.of('warn')).toEqual([]);
    expect(logs.of('error', 'Scheduler')).toEqual([]);
  });

  it('B81 a call by hand always runs, and neither reads nor uses a tick', async () => {
    const store = new Database();
    const [first, second] = [await application(store, Job), await application(store, Job)];
    for (let i = 0; i < 3; i++) await first.get(Job).run();
    await fire(jobOf(first, 'job'), NOON);
    for (let i = 0; i < 3; i++) await second.get(Job).run();
    await fire(jobOf(second, 'job'), NOON);
    expect([first.get(Job).ran, second.get(Job).ran]).toEqual([4, 3]);
    // Calling fireOnTick() without a timer counts as a call by hand, too.
    await jobOf(first, 'job').fireOnTick();
    await othersRun();
    expect(first.get(Job).ran).toBe(5);
  });

  it('B81 if the job of another method calls the method, that is a call by hand, which always runs', async () => {
    @Injectable()
    class Callers {
      constructor(private readonly job: Job) {}

      @Cron(NEVER, { name: 'caller' })
      call(): Promise<void> {
        return this.job.run();
      }

      @Timeout(1)
      callOnce(): Promise<void> {
        return this.job.run();
      }
    }
    const store = new Database();
    const app = await start({
      imports: [LockModule.forRoot({ store }), ScheduleModule.forRoot()],
      providers: [Job, Callers],
    });
    const job = app.get(Job);
    // The timeout calls the method for the first time.
    while (job.ran < 1) await next(app.get(LockService).events, 'released');
    for (let i = 0; i < 2; i++) await fire(jobOf(app, 'caller'), NOON);
    expect(job.ran).toBe(3);
    expect(store.requests.map(({ request }) => request.once)).toEqual([undefined, undefined, undefined]);
  });

  it('B81 in a test without ScheduleModule, each call runs', async () => {
    const app = await start({ imports: [LockModule.forRoot({ store: memoryStore() })], providers: [Job] });
    for (let i = 0; i < 3; i++) await app.get(Job).run();
    expect(app.get(Job).ran).toBe(3);
  });

  it('B81 while a job runs, a call of its method by hand is refused', async () => {
    const gate = new Gate();
    @Injectable()
    class Long {
      @Cron(NEVER, { name: 'job' })
      @Locked({ onBusy: 'throw' })
      async run(): Promise<void> {
        await gate.pass();
      }
    }
    const app = await application(new Database(), Long);
    void fire(jobOf(app, 'job'), NOON);
    await gate.reached;
    await expect(app.get(Long).run()).rejects.toThrow(LockNotAcquiredError);
    gate.open();
  });

  it('B81 a call for a tick that has run returns undefined; it does not throw and does not call onBusy', async () => {
    const calls: unknown[] = [];
    @Injectable()
    class Loud {
      @Cron(NEVER, { name: 'throws' })
      @Locked({ onBusy: 'throw' })
      async throws(): Promise<void> {}

      @Cron(NEVER, { name: 'calls' })
      @Locked({ onBusy: (error) => calls.push(error) })
      async calls(): Promise<void> {}
    }
    const app = await application(new Database(), Loud);
    for (const name of ['throws', 'calls']) for (let i = 0; i < 3; i++) await fire(jobOf(app, name), NOON);
    expect(calls).toEqual([]);
    expect(logs.of('error', 'Scheduler')).toEqual([]);
  });

  it('B81 by default, if the lease of a run expires, another instance that waits runs its tick again', async () => {
    const store = new Database();
    await store.acquire('Patient.run', 'crashed', 30_000, { once: { tick: NOON, ahead: 1, failOver: true } });
    @Injectable()
    class Patient extends Runs {
      @Cron(NEVER, { name: 'default' })
      @Locked({ wait: '5s' })
      override async run(): Promise<void> {
        this.ran++;
      }

      @Cron(NEVER, { name: 'strict' })
      @Locked({ wait: '5s', once: 'tick' })
      async strict(): Promise<void> {
        this.ran += 100;
      }
    }
    await store.acquire('Patient.strict', 'crashed', 30_000, { once: { tick: NOON, ahead: 1 } });
    const app = await application(store, Patient);
    const released = next(app.get(LockService).events, 'released');
    await fire(jobOf(app, 'default'), NOON);
    expect(app.get(Patient).ran).toBe(0);
    store.clock.now += 31_000;
    await released;
    await fire(jobOf(app, 'default'), NOON);
    await fire(jobOf(app, 'strict'), NOON);
    expect(app.get(Patient).ran).toBe(1);
  });

  it('B81 if the clock of an instance is too far ahead, its ticks are not recorded and run under the lock alone, with one warning', async () => {
    const store = new Database();
    const [wrong, right] = [await application(store, Job), await application(store, Job)];
    for (const tick of [NOON + 5 * MINUTE, NOON + 6 * MINUTE]) await fire(jobOf(wrong, 'job'), tick, MINUTE);
    expect(wrong.get(Job).ran).toBe(2);
    expect(logs.of('warn')).toEqual([expect.stringContaining('too far ahead of the database')]);
    await fire(jobOf(right, 'job'), NOON, MINUTE);
    expect(right.get(Job).ran).toBe(1);
  });

  it('B81 if the database has recorded a tick too far in the future, it is ignored with one warning', async () => {
    const store = new Database();
    const owner = 'a clock that was wrong';
    await store.acquire('Job.run', owner, 30_000, { once: { tick: NOON + 600 * MINUTE, ahead: 1e12 } });
    await store.release('Job.run', owner);
    const app = await application(store, Job);
    for (const tick of [NOON, NOON + MINUTE]) await fire(jobOf(app, 'job'), tick, MINUTE);
    expect(app.get(Job).ran).toBe(2);
    expect(logs.of('warn')).toEqual([expect.stringContaining('is ignored')]);
  });

  it('B81 the clock of an instance may be ahead by one period of the job, and by at least ten seconds', async () => {
    const store = new Database();
    const app = await application(store, Job);
    await fire(jobOf(app, 'job'), NOON + 9_000, 1_000);
    await fire(jobOf(app, 'job'), NOON + 60 * MINUTE, 60 * MINUTE);
    await fire(jobOf(app, 'job'), NOON + 62 * MINUTE, 60 * MINUTE);
    expect(store.requests.map(({ request }) => request.once)).toEqual([
      { tick: NOON + 9_000, ahead: 10_000, failOver: true },
      { tick: NOON + 60 * MINUTE, ahead: 60 * MINUTE, failOver: true },
      { tick: NOON + 62 * MINUTE, ahead: 60 * MINUTE, failOver: true },
      undefined,
    ]);
  });

  it('B81 with once: false, a tick may run on several instances, but never at the same time', async () => {
    @Injectable()
    class Plain extends Runs {
      @Cron(NEVER, { name: 'job' })
      @Locked({ once: false })
      override async run(): Promise<void> {
        this.ran++;
      }
    }
    const app = await application(new Database(), Plain);
    await fire(jobOf(app, 'job'), NOON);
    await fire(jobOf(app, 'job'), NOON);
    expect(app.get(Plain).ran).toBe(2);
    expect(logs.of('log')).toEqual([expect.stringContaining('Plain.run (skip, mutual exclusion)')]);
  });

  it('B81 on a store that remembers no ticks, jobs run under mutual exclusion alone, as the line at start says', async () => {
    const store = new RecordingStore();
    const forgetful: LockStore = {
      acquire: (key, owner, ttl, request) => {
        expect(request?.once).toBeUndefined();
        return store.acquire(key, owner, ttl, request);
      },
      renew: store.renew.bind(store),
      release: store.release.bind(store),
    };
    const app = await application(forgetful, Job);
    for (let i = 0; i < 2; i++) await fire(jobOf(app, 'job'), NOON);
    expect(app.get(Job).ran).toBe(2);
    expect(logs.of('log')).toEqual(['1 locked method: Job.run (skip, mutual exclusion)']);
  });

  it('B81 the memory store remembers ticks as long as the process runs', async () => {
    const store = new RecordingStore({ now: () => NOON });
    const app = await application(store, Job);
    for (let i = 0; i < 2; i++) await fire(jobOf(app, 'job'), NOON);
    expect(app.get(Job).ran).toBe(1);
  });
});

describe('ticks belong to key and method', () => {
  @Injectable()
  class Reports {
    readonly ran: string[] = [];

    @Cron(NEVER, { name: 'daily' })
    @Locked('report')
    async daily(): Promise<void> {
      this.ran.push('daily');
    }

    @Cron(NEVER, { name: 'weekly' })
    @Locked('report')
    async weekly(): Promise<void> {
      this.ran.push('weekly');
    }
  }

  it('B81 if two cron jobs share a key, each of them runs each of its ticks once', async () => {
    const store = new Database();
    const apps = await Promise.all([1, 2].map(() => application(store, Reports)));
    for (const tick of [NOON, NOON + MINUTE]) {
      store.clock.now = tick;
      for (const app of apps)
        for (const name of ['daily', 'weekly']) await fire(jobOf(app, name), tick, MINUTE);
    }
    expect(apps.map((app) => app.get(Reports).ran)).toEqual([['daily', 'weekly', 'daily', 'weekly'], []]);
  });

  it('B81 for a tick that has run, no request for the lock is sent', async () => {
    const store = new Database();
    const [first, second] = [await application(store, Reports), await application(store, Reports)];
    await fire(jobOf(first, 'daily'), NOON);
    const before = store.calls.length;
    await fire(jobOf(second, 'daily'), NOON);
    expect(store.calls.slice(before)).toEqual([]);
    await fire(jobOf(second, 'weekly'), NOON);
    expect(store.calls.slice(before)).toEqual([
      'acquire report',
      'acquire report#Reports.weekly',
      'release report#Reports.weekly',
      'release report',
    ]);
  });

  it('B81 two cron jobs that share a key never run at the same time', async () => {
    const store = new Database();
    const held = await store.holdElsewhere('report');
    const app = await application(store, Reports);
    await fire(jobOf(app, 'daily'), NOON);
    expect(app.get(Reports).ran).toEqual([]);
    await held.release();
    await fire(jobOf(app, 'daily'), NOON);
    expect(app.get(Reports).ran).toEqual(['daily']);
  });

  it('B81 if the record of a tick cannot be completed, the run keeps its result or error', async () => {
    class Failing extends Database {
      override async release(key: string, owner: string, end?: ReleaseRequest): Promise<boolean> {
        if (key.includes('#')) throw new Error(`the row of ${owner} is gone`);
        return super.release(key, owner, end);
      }
    }
    @Injectable()
    class Broken {
      @Cron(NEVER, { name: 'broken' })
      @Locked('report')
      async broken(): Promise<void> {
        throw new Error('no paper');
      }
    }
    const app = await application(new Failing(), Broken);
    const failed: unknown[] = [];
    app.get(LockService).events.on('storeError', ({ error }) => failed.push(error.cause));
    const job = jobOf(app, 'broken');
    const errors: unknown[] = [];
    Object.assign(job, { errorHandler: (error: unknown) => errors.push(error) });
    await fire(job, NOON).catch((error: unknown) => errors.push(error));
    await until(() => failed.length > 0);
    expect(errors.map(String).join()).not.toContain('the row');
    expect(String(failed[0])).toMatch(/^Error: the row of (?!.*[0-9a-f]{8}-)/);
  });

  it("B81 a tick of a crashed instance is repeated by default, but not with once: 'tick'", async () => {
    const store = new Database();
    @Injectable()
    class Both extends Reports {
      @Cron(NEVER, { name: 'strict' })
      @Locked('report', { once: 'tick' })
      async strict(): Promise<void> {
        this.ran.push('strict');
      }
    }
    const once = { tick: NOON, ahead: 1 };
    await store.acquire('report', 'crashed', 30_000);
    for (const name of ['daily', 'strict'])
      await store.acquire(`report#Both.${name}`, 'crashed', 30_000, { once });
    const app = await application(store, Both);
    await fire(jobOf(app, 'daily'), NOON);
    expect(app.get(Both).ran).toEqual([]);
    store.clock.now += 31_000;
    await fire(jobOf(app, 'daily'), NOON);
    await fire(jobOf(app, 'strict'), NOON);
    expect(app.get(Both).ran).toEqual(['daily']);
  });

  it('B81 a run that is longer than the lease of its tick record is still recorded as done', async () => {
    const store = new Database();
    @Injectable()
    class Long extends Runs {
      @Cron(NEVER, { name: 'job' })
      @Locked('long')
      override async run(): Promise<void> {
        this.ran++;
        store.clock.now += 15_000;
      }
    }
    const apps = [await application(store, Long), await application(store, Long)];
    for (const app of apps) await fire(jobOf(app, 'job'), NOON);
    expect(apps.map((app) => app.get(Long).ran)).toEqual([1, 0]);
    expect(await store.inspect('long#Long.run')).toMatchObject({
      state: 'free',
      lastRun: { outcome: 'done' },
    });
  });

  it('B81 a run that fails is recorded as failed and not repeated', async () => {
    const store = new Database();
    @Injectable()
    class Failing extends Runs {
      @Cron(NEVER, { name: 'job' })
      @Locked('failing')
      override async run(): Promise<void> {
        this.ran++;
        throw new Error('disk full');
      }
    }
    const app = await application(store, Failing);
    for (let i = 0; i < 2; i++) await fire(jobOf(app, 'job'), NOON);
    expect(app.get(Failing).ran).toBe(1);
    expect(await store.inspect('failing#Failing.run')).toMatchObject({ lastRun: { outcome: 'failed' } });
  });

  it('B81 if two cron jobs share a key, a tick too far ahead runs under mutual exclusion alone', async () => {
    const store = new Database();
    const app = await application(store, Reports);
    await fire(jobOf(app, 'daily'), NOON + 5 * MINUTE, MINUTE);
    const once = { tick: NOON + 5 * MINUTE, ahead: 1e12 };
    await store.acquire('report#Reports.weekly', 'wrong', 30_000, { once });
    await store.release('report#Reports.weekly', 'wrong');
    await fire(jobOf(app, 'weekly'), NOON, MINUTE);
    expect(app.get(Reports).ran).toEqual(['daily', 'weekly']);
    expect(logs.of('warn')).toEqual([
      expect.stringContaining('to be recorded'),
      expect.stringContaining('is ignored'),
    ]);
  });

  it('B46 for a key that two cron jobs share, inspect returns the latest tick of both', async () => {
    const store = new Database();
    const app = await application(store, Reports);
    const locks = app.get(LockService);
    expect(await locks.admin.inspect('report')).not.toHaveProperty('lastTick');
    await fire(jobOf(app, 'daily'), NOON);
    await fire(jobOf(app, 'weekly'), NOON + 1_000);
    expect(await locks.admin.inspect('report')).toMatchObject({
      lastTick: new Date(NOON + 1_000),
      missed: 0,
    });
  });

  it('B81 each key of a key function has its own ticks', async () => {
    @Injectable()
    class Tenants {
      readonly ran: string[] = [];
      @Locked({ key: (tenant: string) => `tenant:${tenant}` })
      async sync(tenant: string): Promise<void> {
        this.ran.push(tenant);
      }
    }
    const store = new Database();
    const app = await application(store, Tenants);
    const job = dynamicJob(app, async () => {
      await Promise.all(['a', 'b', 'a'].map((tenant) => app.get(Tenants).sync(tenant)));
    });
    await fire(job, NOON);
    await fire(job, NOON);
    expect(app.get(Tenants).ran.toSorted()).toEqual(['a', 'b']);
  });
});

describe('@Interval()', () => {
  /** Waits until the store has got `count` requests and resolves to them. */
  async function requestsOf(store: Database, count: number): Promise<Database['requests']> {
    while (store.requests.length < count) await new Promise((resolve) => setTimeout(resolve, 2));
    return store.requests.slice(0, count);
  }

  it('B81 by the clock of the database, an interval starts again only when its time, less a margin, has passed', async () => {
    @Injectable()
    class Poll extends Runs {
      @Interval(20)
      @Locked()
      override async run(): Promise<void> {
        this.ran++;
      }
    }
    const store = new Database();
    const app = await application(store, Poll);
    const requests = await requestsOf(store, 4);
    expect(requests.map(({ request }) => request.once)).toEqual(
      Array.from({ length: 4 }, () => ({ gap: 10 })),
    );
    // By the clock of the database, which stands still here, the interval has not passed.
    expect(app.get(Poll).ran).toBe(1);
    const released = next(app.get(LockService).events, 'released');
    store.clock.now += 10;
    await released;
    expect(app.get(Poll).ran).toBe(2);
    // The last start is now later than the clock of the database, so it is ignored.
    store.clock.now -= 5_000;
    await next(app.get(LockService).events, 'released');
    expect(logs.of('log')).toEqual([expect.stringContaining('Poll.run (skip, once per interval)')]);
  });

  it('B81 an interval method always runs when called by hand', async () => {
    @Injectable()
    class Slow extends Runs {
      @Interval(1e9)
      @Locked()
      override async run(): Promise<void> {
        this.ran++;
      }
    }
    const app = await application(new Database(), Slow);
    for (let i = 0; i < 3; i++) await app.get(Slow).run();
    await new Promise<void>((resolve) => {
      // This is not the timer of the interval, so the call counts as a call by hand.
      setTimeout(() => resolve(app.get(Slow).run()), 1);
    });
    expect(app.get(Slow).ran).toBe(4);
  });
});

describe('methods without ticks', () => {
  it('B81 timeouts and streams run under mutual exclusion alone, as the line at start says', async () => {
    @Injectable()
    class Others {
      @Timeout(1)
      @Locked()
      async once(): Promise<void> {}

      @Cron(NEVER, { name: 'stream' })
      @Locked()
      async *stream(): AsyncGenerator<number> {
        yield 1;
      }
    }
    const store = new Database();
    const app = await application(store, Others);
    await next(app.get(LockService).events, 'released');
    await fire(jobOf(app, 'stream'), NOON);
    expect(store.requests.map(({ key, request }) => [key, request.once])).toEqual([
      ['Others.once', undefined],
      ['Others.stream', undefined],
    ]);
    expect(logs.of('log')).toEqual([
      '2 locked methods: Others.once (skip, mutual exclusion), Others.stream (skip, mutual exclusion) store=memory',
    ]);
  });
});

describe('inspect() without cron jobs', () => {
  it.each([
    ['if no cron job is registered', [ScheduleModule.forRoot({ cronJobs: false })]],
    ['without ScheduleModule', []],
  ])('E4 %s, inspect() does not return the number of missed ticks', async (_, imports) => {
    const store = new Database();
    await store.acquire('Unnamed.run', 'o', 30_000, { once: { tick: NOON, ahead: 1 } });
    @Injectable()
    class Unnamed extends Runs {
      @Cron(NEVER)
      @Locked()
      override async run(): Promise<void> {}
    }
    const app = await start({ imports: [LockModule.forRoot({ store }), ...imports], providers: [Unnamed] });
    const found = await app.get(LockService).admin.inspect('Unnamed.run');
    expect(found).toMatchObject({ state: 'held', lastTick: new Date(NOON) });
    expect(found).not.toHaveProperty('missed');
  });
});

describe('ticks of registered jobs', () => {
  /** Waits for this number of granted requests, and resolves to the tick of each. */
  async function ticksOf(store: Database, runs: number): Promise<number[]> {
    const won = (): Database['requests'] => store.requests.filter(({ result }) => result.acquired);
    while (won().length < runs) await new Promise((resolve) => setTimeout(resolve, 20));
    return won().map(({ request: { once: asked } }) => (asked && 'tick' in asked ? asked.tick : NaN));
  }

  it.each(['default', 'tick'] as const)(
    'E5 after setTime(), each tick of the new schedule runs: %s',
    async (form) => {
      @Injectable()
      class Rare extends Runs {
        @Cron(NEVER, { name: 'job' })
        @Locked(form === 'tick' ? { once: 'tick' } : {})
        override async run(): Promise<void> {
          this.ran++;
        }
      }
      const store = new Database({ now: Date.now() });
      const app = await application(store, Rare);
      Object.defineProperty(store.clock, 'now', { get: () => Date.now() });
      jobOf(app, 'job').setTime(new CronTime('* * * * * *'));
      const ticks = await ticksOf(store, 3);
      expect(ticks.map((tick) => tick % 1_000)).toEqual([0, 0, 0]);
      expect(ticks.map((tick) => tick - Number(ticks[0]))).toEqual([0, 1_000, 2_000]);
    },
  );

  it('E5 a job that is deleted from the registry and added again runs no tick twice', async () => {
    const store = new Database();
    const app = await application(store, Job);
    const registry = app.get(SchedulerRegistry);
    const old = registry.getCronJob('job');
    await fire(old, NOON);
    registry.deleteCronJob('job');
    registry.addCronJob('job', old);
    await fire(old, NOON);
    registry.deleteCronJob('job');
    const made = new CronJob(NEVER, () => app.get(Job).run());
    registry.addCronJob('job', made);
    await fire(made, NOON);
    expect(app.get(Job).ran).toBe(1);
    await fire(made, NOON + MINUTE);
    expect(app.get(Job).ran).toBe(2);
  });

  it('E5 a job that fires in its own constructor gets the right tick', async () => {
    const store = new Database({ now: Date.now() });
    const app = await application(store, Job);
    const registry = app.get(SchedulerRegistry);
    const nominal = Math.floor(Date.now() / 1_000) * 1_000;
    // A CronJob that is created a little late calls the method in its constructor, like this
    // call.
    const called = app.get(Job).run();
    const made = new CronJob('* * * * * *', () => app.get(Job).run());
    Object.assign(made, { lastExecution: new Date(nominal + 3) });
    registry.addCronJob('late', made);
    await called;
    expect(store.requests.map(({ request }) => request.once)).toEqual([
      { tick: nominal, ahead: 10_000, failOver: true },
    ]);
  });
});

describe('warnings about schedulers', () => {
  it('E6 a warning at start says that scheduled methods need a ScheduleModule', async () => {
    await start({ imports: [LockModule.forRoot({ store: new Database() })], providers: [Job] });
    expect(logs.of('warn')).toEqual([
      'Job.run: the application has no scheduler, so nothing calls this method. Import ScheduleModule.forRoot() from @nestjs/schedule.',
    ]);
  });

  it('E6 with two ScheduleModule.forRoot(), a warning comes at start, and each tick still runs once', async () => {
    const store = new Database({ now: Date.now() });
    Object.defineProperty(store.clock, 'now', { get: () => Date.now() });
    @Injectable()
    class EachSecond extends Runs {
      @Cron('* * * * * *')
      @Locked()
      override async run(): Promise<void> {
        this.ran++;
      }
    }
    await application(store, EachSecond, [ScheduleModule.forRoot({ timeouts: false })]);
    expect(logs.of('warn')).toEqual([expect.stringContaining('The application has 2 schedulers')]);
    while (store.requests.length < 4) await new Promise((resolve) => setTimeout(resolve, 20));
    const ticks = store.requests.filter(({ result }) => result.acquired).map(({ request }) => request.once);
    expect(new Set(ticks.map((asked) => JSON.stringify(asked))).size).toBe(ticks.length);
  });

  it('E6 without scheduled methods, no warning about ScheduleModule comes', async () => {
    @Injectable()
    class Plain extends Runs {
      @Locked()
      override async run(): Promise<void> {}
    }
    await start({ imports: [LockModule.forRoot({ store: new Database() })], providers: [Plain] });
    expect(logs.of('warn')).toEqual([]);
  });
});

describe('jobs without a decorator', () => {
  @Injectable()
  class Plain extends Runs {
    @Locked()
    override async run(): Promise<void> {
      this.ran++;
    }
  }

  it('E7 a cron job of the registry runs each tick once, and a busy tick is skipped', async () => {
    const store = new Database();
    const apps = await Promise.all([1, 2].map(() => application(store, Plain)));
    const jobs = apps.map((app) => dynamicJob(app, () => app.get(Plain).run()));
    for (const job of jobs) await fire(job, NOON);
    expect(apps.map((app) => app.get(Plain).ran)).toEqual([1, 0]);
    await store.holdElsewhere('Plain.run');
    const [app, job] = [apps[0]!, jobs[0]!];
    await fire(job, NOON + MINUTE);
    expect(app.get(Plain).ran).toBe(1);
    expect(logs.of('error', 'SchedulerRegistry')).toEqual([]);
    // This is a call by hand, not a tick of the job.
    await expect(app.get(Plain).run()).rejects.toThrow(LockNotAcquiredError);
  });

  it('E7 an interval of the registry keeps its gap between runs, and is skipped while the key is busy', async () => {
    const store = new Database();
    await store.holdElsewhere('Plain.run');
    const app = await application(store, Plain);
    const results: unknown[] = [];
    const timer = setInterval(() => {
      void app
        .get(Plain)
        .run()
        .then((result) => results.push(result));
    }, 5);
    app.get(SchedulerRegistry).addInterval('poll', timer);
    while (results.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(store.requests[1]?.request.once).toEqual({ gap: 3 });
    expect(results.slice(0, 2)).toEqual([undefined, undefined]);
  });

  it('E7 a timeout of the registry is skipped if its key is busy', async () => {
    const store = new Database();
    await store.holdElsewhere('Plain.run');
    const app = await application(store, Plain);
    const result = new Promise((resolve) => {
      app.get(SchedulerRegistry).addTimeout(
        'once',
        setTimeout(() => resolve(app.get(Plain).run()), 1),
      );
    });
    expect(await result).toBeUndefined();
  });

  it('E7 a call from a setInterval() outside of the registry is a call by hand', async () => {
    const store = new Database();
    await store.holdElsewhere('Plain.run');
    const app = await application(store, Plain);
    const result = new Promise((resolve) => {
      const timer = setInterval(() => {
        clearInterval(timer);
        resolve(app.get(Plain).run());
      }, 1);
    });
    await expect(result).rejects.toThrow(LockNotAcquiredError);
  });
});

it('B81 a job runs each tick once, whether it is added to the registry during or after the start', async () => {
  const store = new Database();
  @Injectable()
  class Early extends Runs {
    constructor(private readonly registry: SchedulerRegistry) {
      super();
    }
    onModuleInit(): void {
      this.registry.addCronJob('early', new CronJob(NEVER, () => this.run()));
    }
    @Locked()
    override async run(): Promise<void> {
      this.ran++;
    }
  }
  const app = await application(store, Early);
  for (let i = 0; i < 2; i++) await fire(jobOf(app, 'early'), NOON);
  expect(app.get(Early).ran).toBe(1);
});

it("B81 once: 'tick' is refused on a store that does not remember what has run", async () => {
  @Injectable()
  class Strict {
    @Cron(NEVER)
    @Locked({ once: 'tick' })
    async run(): Promise<void> {}
  }
  const error = await startError({
    imports: [LockModule.forRoot({ store: memoryStore() }), ScheduleModule.forRoot()],
    providers: [Strict],
  });
  expect(error.message).toContain('needs a store that remembers what has run');
});

/** Adds a job to the registry at run time, as applications do. */
function dynamicJob(app: INestApplicationContext, onTick: () => Promise<void>): CronJob {
  const job = new CronJob(NEVER, onTick);
  app.get(SchedulerRegistry).addCronJob('dynamic', job);
  return job;
}
