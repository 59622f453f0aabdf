import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, type INestApplicationContext, type Type } from '@nestjs/common';
import { Cron, Interval, ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { Locked, LockModule, LockService, memoryStore, type LockModuleOptions } from '../../lib/index.js';
import { LockTestingModule } from '../../lib/testing/index.js';
import { logs, start, startError } from './applications.js';
import { Gate } from './gate.js';
import { RecordingStore } from './recording-store.js';

const MINUTE = 60_000;
const NOON = Date.UTC(2026, 10, 20, 12);

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

/** A database that remembers which ticks have run, with a clock of its own. */
function database(clock: { now: number }) {
  return Object.assign(new RecordingStore({ now: () => clock.now }), { keepsOnce: true as const });
}

/** An instance of the application whose own clock is off by so many milliseconds. */
async function instance<T extends Job>(
  job: Type<T>,
  options: LockModuleOptions,
  clock: { now: number },
  off = 0,
): Promise<{ job: T; locks: LockService; tick: () => Promise<void>; app: INestApplicationContext }> {
  const app = await start({
    imports: [LockModule.forRoot(options), ScheduleModule.forRoot()],
    providers: [job],
  });
  const locks = app.get(LockService);
  Object.defineProperty(locks, 'date', { value: () => clock.now + off });
  const sent = app.get(job);
  return { job: sent, locks, tick: () => sent.send(), app };
}

describe('B76 once per tick', () => {
  it.each([Digest, CronBelow])('of instances with clocks apart one runs each tick, once: %p', async (job) => {
    const clock = { now: NOON };
    const store = database(clock);
    const right = await instance(job, { store }, clock);
    const ahead = await instance(job, { store }, clock, 9_000);
    const behind = await instance(job, { store }, clock, -90_000);
    for (const minutes of [0, 10, 20]) {
      clock.now = NOON + minutes * MINUTE - 9_000; // the one that is ahead thinks that it is time
      await ahead.tick();
      clock.now = NOON + minutes * MINUTE;
      await right.tick();
      clock.now = NOON + minutes * MINUTE + 90_000;
      await behind.tick();
    }
    expect([ahead.job.ran, right.job.ran, behind.job.ran]).toEqual([3, 0, 0]);
  });

  it('a tick that a crashed instance began is not repeated, and recorded as failed', async () => {
    const clock = { now: NOON };
    const store = database(clock);
    await store.acquire('Digest.send', 'crashed', 30_000, {
      label: 'crashed',
      once: { tick: NOON, ahead: 1 },
    });
    clock.now = NOON + 40_000; // its lease has run out
    const { job, tick, locks } = await instance(Digest, { store }, clock);
    await tick();
    expect(job.ran).toBe(0);
    clock.now = NOON + 10 * MINUTE;
    await tick();
    expect(job.ran).toBe(1);
    expect(await locks.inspect('Digest.send')).toMatchObject({ lastRun: { outcome: 'done' } });
  });

  it('a clock that is far ahead of the database fails loudly, and keeps no other from running', async () => {
    const clock = { now: NOON };
    const store = database(clock);
    const wrong = await instance(CronBelow, { store }, clock, 10 * MINUTE);
    await expect(wrong.tick()).rejects.toThrow(
      'The tick 2026-11-20T12:10:00.000Z of lock "below" is more than 10000 ms ahead of the database\'s clock, and is not run.',
    );
    expect(wrong.job.ran).toBe(0);
    const right = await instance(CronBelow, { store }, clock);
    await right.tick();
    expect(right.job.ran).toBe(1);
  });

  it('B46 inspect tells the last tick, and how many were missed since', async () => {
    const clock = { now: NOON };
    const store = database(clock);
    const { locks, tick } = await instance(Digest, { store }, clock);
    expect(await locks.inspect('Digest.send')).not.toHaveProperty('missed');
    await tick();
    const noon = new Date(NOON);
    expect(await locks.inspect('Digest.send')).toMatchObject({ lastTick: noon, missed: 0 });
    clock.now = NOON + 30 * MINUTE + 30_000; // a minute is left to take a tick up
    expect(await locks.inspect('Digest.send')).toMatchObject({ lastTick: noon, missed: 2 });
    clock.now = NOON + 31 * MINUTE;
    expect(await locks.inspect('Digest.send')).toMatchObject({ missed: 3, lastRun: { outcome: 'done' } });
  });

  it('the line at start names what runs once', async () => {
    const clock = { now: NOON };
    await instance(Digest, { store: database(clock) }, clock);
    expect(logs.of('log')).toEqual([expect.stringContaining('Digest.send (skip, once per tick)')]);
  });

  it('slots go with every method', async () => {
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

  it('of two instances that the scheduler calls at the same time, one runs each tick', async () => {
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

  it('a job that the scheduler calls while it makes it runs its tick', async () => {
    const clock = { now: NOON };
    const { job, app } = await instance(Digest, { store: database(clock) }, clock);
    const registry = app.get(SchedulerRegistry);
    const made = registry.getCronJob('digest');
    registry.deleteCronJob('digest');
    const called = job.send();
    registry.addCronJob('digest', made);
    await called;
    expect(job.ran).toBe(1);
  });

  it('runs unlocked while locking is disabled', async () => {
    const clock = { now: NOON };
    const { job, tick } = await instance(Digest, { store: database(clock), enabled: false }, clock);
    await tick();
    await tick();
    expect(job.ran).toBe(2);
  });

  it('goes with LockTestingModule', async () => {
    const app = await start({
      imports: [LockTestingModule.forRoot(), ScheduleModule.forRoot()],
      providers: [Digest],
    });
    await app.get(Digest).send();
    await app.get(Digest).send();
    expect(app.get(Digest).ran).toBe(1);
  });

  describe('is refused at start', () => {
    it('on a method that is not under @Cron()', async () => {
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
        "Poll.poll has the option once: 'tick', but is not under @Cron(). For other methods, give slots: once: '5m'.",
      );
    });

    it('on a store that does not remember', async () => {
      const error = await startError({
        imports: [LockModule.forRoot({ store: memoryStore() }), ScheduleModule.forRoot()],
        providers: [Digest],
      });
      expect(error.message).toContain(
        'The option "once" of @Locked() on Digest.send needs a store that remembers what has run',
      );
    });

    it('on two methods with one key, of which one would take the ticks of the other', async () => {
      @Injectable()
      class Reports {
        @Cron('0 0 * * *')
        @Locked('report', { once: 'tick' })
        async daily(): Promise<void> {}

        @Cron('0 0 * * 0')
        @Locked('report', { once: 'tick' })
        async weekly(): Promise<void> {}
      }
      const error = await startError({
        imports: [LockModule.forRoot({ store: database({ now: NOON }) }), ScheduleModule.forRoot()],
        providers: [Reports],
      });
      expect(error.message).toContain(
        `Reports.daily and Reports.weekly have the option once: 'tick' and one key, "report"`,
      );
    });

    it('on a method with a key that two classes inherit', async () => {
      abstract class Import {
        @Cron('0 0 * * *')
        @Locked('import', { once: 'tick' })
        async run(): Promise<void> {}
      }
      @Injectable()
      class Customers extends Import {}
      @Injectable()
      class Orders extends Import {}
      const error = await startError({
        imports: [LockModule.forRoot({ store: database({ now: NOON }) }), ScheduleModule.forRoot()],
        providers: [Customers, Orders],
      });
      expect(error.message).toContain('one key, "import"');
    });

    it('with an option that has no meaning without it', () => {
      expect(() =>
        Locked({ once: '5m', tickAhead: '1m' } as never)({}, 'run', { value() {} } as never),
      ).toThrow(`"tickAhead"`);
    });
  });

  it('fails when it is called without a scheduler', async () => {
    const app = await start({
      imports: [LockTestingModule.forRoot()],
      providers: [Digest],
    });
    await expect(app.get(Digest).send()).rejects.toThrow('Import ScheduleModule.forRoot()');
  });
});
