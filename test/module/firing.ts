import { setImmediate as othersRun } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { CronJob } from 'cron';

/**
 * Private members of `CronJob` that change when its timer fires. Only cron 3 and older have
 * `running`.
 */
type Inside = { lastExecution: Date; running: boolean; _isActive: boolean; _timeout: NodeJS.Timeout };

/**
 * Lets a cron job fire for the given tick, whatever the time is now. Like a real firing, this
 * notes the date, arms the next timer and calls the method. Resolves when the lock was refused
 * or the run has ended, but does not wait for other work that the run awaits.
 *
 * @param period milliseconds until the next tick
 */
export async function fire(job: CronJob, tick: number, period = 600_000): Promise<void> {
  const armFor = (time: number): void => {
    Object.assign(job.cronTime, { sendAt: () => ({ toMillis: () => time }) });
    job.start();
  };
  void job.stop();
  armFor(tick);
  const inside = job as unknown as Inside;
  clearTimeout(inside['_timeout']); // A timer that has fired is no longer armed.
  Object.assign(inside, { lastExecution: new Date(tick), running: false, _isActive: false });
  armFor(tick + period);
  await job.fireOnTick();
  await othersRun();
}

export function jobOf(app: INestApplicationContext, name: string): CronJob {
  return app.get(SchedulerRegistry, { strict: false }).getCronJob(name);
}
