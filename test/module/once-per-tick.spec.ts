import 'reflect-metadata';
import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { Injectable, type INestApplicationContext, type Type } from '@nestjs/common';
import { Cron, Interval, ScheduleModule } from '@nestjs/schedule';
import { Locked, LockModule, LockService, memoryStore, type LockModuleOptions } from '../../lib/index.js';
import { LockTestingModule } from '../../lib/testing/index.js';
import { logs, start, startError } from './applications.js';
import { fire, jobOf } from './firing.js';
import { Gate } from './gate.js';
import { RecordingStore } from './recording-store.js';

const MINUTE = 60_000;
/** The ticks are in a later year, so the real timers of the jobs do not fire during a test. */
const YEAR = new Date().getUTCFullYear() + 2;
const NOON = Date.UTC(YEAR, 10, 20, 12);

abstract class Job {
  ran = 0;
  abstract send(): Promise<void>;
}

@Injectable()
class Digest extends Job {
  @Cron('*/10 * * * *', { name: 'digest', timeZone: 'UTC' })
  @Locked({ once: 'tick' })
  async send(): Promise<void> {
    this.ran++;
  }
}

@Injectable()
class CronBelow extends Job {
  @Locked('below', { once: 'tick', tickAhead: '10s' })
  @Cron('*/10 * * * *', { name: 'digest', utcOffset: 330 })
  async send(): Promise<void> {
    this.ran++;
  }
}

/** A database with its own clock that remembers which ticks have run. */
function database(clock: { now: number }) {
  return Object.assign(new RecordingStore({ now: () => clock.now }), { keepsOnce: true as const });
}

/**
 * Starts an instance of the application. `tick` lets its cron job fire for this time, which a
 * wrong clock may reach too early or too late.
 */
async function instance<T extends Job>(
  job: Type<T>,
  options: LockModuleOptions,
): Promise<{
  job: T;
  locks: LockService;
  tick: (tick: number) => Promise<void>;
  app: INestApplicationContext;
}> {
  const app = await start({
    imports: [LockModule.forRoot(options), ScheduleModule.forRoot()],
    providers: [job],
  });
  const digest = jobOf(app, 'digest');
  return {
    job: app.get(job),
    locks: app.get(LockService),
    tick: (tick) => fire(digest, tick, 10 * MINUTE),
    app,
  };
}

describe("once: 'tick'", () => {
  it.each([Digest, CronBelow])(
    'B76 each tick runs on one instance only, although the clocks of the instances differ: %p',
    async (job) => {
      const clock = { now: NOON };
      const store = database(clock);
      const [right, ahead, behind] = [
        await instance(job, { store }),
        await instance(job, { store }),
        await instance(job, { store }),
      ];
      for (const minutes of [0, 10, 20]) {
        const tick = NOON + minutes * MINUTE;
        clock.now = tick - 9_000; // The clock that is 9 s ahead reaches the tick now.
        await ahead.tick(tick);
        clock.now = tick;
        await right.tick(tick);
        clock.now = tick + 90_000;
        await behind.tick(tick);
      }
      expect([ahead.job.ran, right.job.ran, behind.job.ran]).toEqual([3, 0, 0]);
    },
  );

  it("B76 with once: 'tick', a tick whose instance crashed is not repeated and counts as failed", async () => {
    const clock = { now: NOON };
    const store = database(clock);
    await store.acquire('Digest.send', 'crashed', 30_000, {
      label: 'crashed',
      once: { tick: NOON, ahead: 1 },
    });
    clock.now = NOON + 40_000; // By now, the lease of the crashed instance has expired.
    const { job, tick, locks } = await instance(Digest, { store });
    await tick(NOON);
    expect(job.ran).toBe(0);
    clock.now = NOON + 10 * MINUTE;
    await tick(clock.now);
    expect(job.ran).toBe(1);
    expect(await locks.admin.inspect('Digest.send')).toMatchObject({ lastRun: { outcome: 'done' } });
  });

  it('B76 a tick fails with an error if the clock of its instance is far ahead, and other instances go on', async () => {
    const clock = { now: NOON };
    const store = database(clock);
    const wrong = await instance(CronBelow, { store });
    await wrong.tick(NOON + 10 * MINUTE);
    expect(wrong.job.ran).toBe(0);
    expect(logs.of('error', 'Scheduler').join()).toContain(
      `The tick ${YEAR}-11-20T12:10:00.000Z of lock "below" is more than 10000 ms ahead of the database's clock, and is not run.`,
    );
    const right = await instance(CronBelow, { store });
    await right.tick(NOON);
    expect(right.job.ran).toBe(1);
  });

  it('B46 inspect returns the last tick that ran and how many ticks were missed since then', async () => {
    const clock = { now: NOON };
    const store = database(clock);
    const { locks, tick } = await instance(Digest, { store });
    Object.defineProperty(locks[INTERNALS].clock, 'date', { value: () => clock.now });
    expect(await locks.admin.inspect('Digest.send')).not.toHaveProperty('missed');
    await tick(NOON);
    const noon = new Date(NOON);
    expect(await locks.admin.inspect('Digest.send')).toMatchObject({ lastTick: noon, missed: 0 });
    // The tick at 12:30 does not count as missed yet, since it may still run within a minute.
    clock.now = NOON + 30 * MINUTE + 30_000;
    expect(await locks.admin.inspect('Digest.send')).toMatchObject({ lastTick: noon, missed: 2 });
    clock.now = NOON + 31 * MINUTE;
    expect(await locks.admin.inspect('Digest.send')).toMatchObject({
      missed: 3,
      lastRun: { outcome: 'done' },
    });
  });

  it('B76 the line at start names methods that run once per tick', async () => {
    const clock = { now: NOON };
    await instance(Digest, { store: database(clock) });
    expect(logs.of('log')).toEqual([expect.stringContaining('Digest.send (skip, once per tick)')]);
  });

  it('B76 once with a length of time works with every method', async () => {
    @Injectable()
    class Poll extends Job {
      @Interval(1e9)
      @Locked({ once: '1h' })
      async send(): Promise<void> {
        this.ran++;
      }
    }
    const clock = { now: NOON };
    const app = await start({
      imports: [LockModule.forRoot({ store: database(clock) })],
      providers: [Poll],
    });
    for (const minutes of [0, 1, 59, 60, 61]) {
      clock.now = NOON + minutes * MINUTE;
      await app.get(Poll).send();
    }
    expect(app.get(Poll).ran).toBe(2);
    expect(logs.of('log')).toEqual([expect.stringContaining('Poll.send (skip, once per slot)')]);
  });

  it('B76 if the schedulers of two instances fire at the same time, only one of them runs each tick', async () => {
    const store = Object.assign(new RecordingStore(), { keepsOnce: true as const });
    const ticks: (Date | undefined)[] = [];
    const third = new Gate();
    @Injectable()
    class Often extends Job {
      @Cron('* * * * * *')
      @Locked({ once: 'tick' })
      async send(): Promise<void> {
        ticks.push((await store.inspect('Often.send')).lastTick);
        if (ticks.length === 3) void third.pass();
      }
    }
    const metadata = {
      imports: [LockModule.forRoot({ store }), ScheduleModule.forRoot()],
      providers: [Often],
    };
    await Promise.all([start(metadata), start(metadata)]);
    await third.reached;
    const times = ticks.map((tick) => tick?.getTime());
    expect(new Set(times).size).toBe(times.length);
    expect(times.map((time) => Number(time) % 1_000)).toEqual(times.map(() => 0));
  });

  it('B73 while locking is disabled, ticks run without a lock on every instance', async () => {
    const clock = { now: NOON };
    const { job, tick } = await instance(Digest, { store: database(clock), enabled: false });
    await tick(NOON);
    await tick(NOON);
    expect(job.ran).toBe(2);
  });

  it("B76 with LockTestingModule, once: 'tick' works as in an application", async () => {
    const app = await start({
      imports: [LockTestingModule.forRoot(), ScheduleModule.forRoot()],
      providers: [Digest],
    });
    const tick = Date.now() + MINUTE;
    await fire(jobOf(app, 'digest'), tick);
    await fire(jobOf(app, 'digest'), tick);
    expect(app.get(Digest).ran).toBe(1);
  });

  describe('wrong uses of once', () => {
    it("B76 once: 'tick' without @Cron() is refused at start", async () => {
      @Injectable()
      class Poll {
        @Interval(1e9)
        @Locked({ once: 'tick' })
        async poll(): Promise<void> {}
      }
      const clock = { now: NOON };
      const error = await startError({
        imports: [LockModule.forRoot({ store: database(clock) })],
        providers: [Poll],
      });
      expect(error.message).toBe(
        "Poll.poll has the option once: 'tick', but is not under @Cron(). Give a length of time instead, such as once: '5m'.",
      );
    });

    it("B76 once: 'tick' on a store that does not remember ticks is refused at start", async () => {
      const error = await startError({
        imports: [LockModule.forRoot({ store: memoryStore() }), ScheduleModule.forRoot()],
        providers: [Digest],
      });
      expect(error.message).toContain(
        'The option "once" of @Locked() on Digest.send needs a store that remembers what has run',
      );
    });

    it("B76 tickAhead without once: 'tick' is refused", () => {
      expect(() =>
        Locked({ once: '5m', tickAhead: '1m' } as never)({}, 'run', { value() {} } as never),
      ).toThrow(`"tickAhead"`);
    });
  });
});
