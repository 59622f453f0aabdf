import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { Cron, ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { once } from 'node:events';
import { Locked, LockModule, LockService } from '../../lib/index.js';
import type { LockModuleDefaults } from '../../lib/options/lock.options.js';
import { start } from './applications.js';
import { RecordingStore } from './recording-store.js';

@Injectable()
class Short {
  ran = 0;
  @Cron('0 0 1 1 *', { name: 'short' })
  @Locked({ minHold: '1m' })
  async run(): Promise<void> {
    this.ran++;
  }
}

@Injectable()
class ShortByModule {
  ran = 0;
  @Cron('0 0 1 1 *', { name: 'short' })
  @Locked()
  async run(): Promise<void> {
    this.ran++;
  }
}

describe('minHold', () => {
  it.each([
    ['of the decorator', Short, {}],
    ['of the module', ShortByModule, { minHold: 60_000 }],
  ])(
    'B76 with minHold %s, each tick of a short job runs once, although the clocks of two instances differ',
    async (_, job, options: LockModuleDefaults) => {
      const clock = { now: Date.UTC(2026, 10, 20, 2) };
      const store = new RecordingStore({ now: () => clock.now });
      const instance = async () => {
        const app = await start({
          imports: [LockModule.forRoot({ ...options, store }), ScheduleModule.forRoot()],
          providers: [job],
        });
        const { events } = app.get(LockService);
        return {
          job: app.get(job),
          /** Lets the cron job fire, and resolves to whether it ran. */
          tick: async (): Promise<boolean> => {
            const ended = Promise.race([
              once(events, 'busy').then(() => false),
              once(events, 'released').then(() => true),
            ]);
            await app.get(SchedulerRegistry).getCronJob('short').fireOnTick();
            return ended;
          },
        };
      };
      const [right, late] = [await instance(), await instance()];

      expect(await right.tick()).toBe(true);
      expect(await store.holds(`${job.name}.run`)).toBe(true);
      // The clock of the second instance is three seconds behind, so its tick comes three
      // seconds later.
      clock.now += 3_000;
      expect(await late.tick()).toBe(false);
      expect([right.job.ran, late.job.ran]).toEqual([1, 0]);

      clock.now += 60_000;
      expect(await late.tick()).toBe(true);
      expect(await right.tick()).toBe(false);
      expect([right.job.ran, late.job.ran]).toEqual([1, 1]);
    },
  );
});
